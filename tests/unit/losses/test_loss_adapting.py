"""Losses of MONAI and torch get labels in the form that each of them expects."""

import monai.losses
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from imtoolkit.core.errors import ComponentError
from imtoolkit.losses.adapting import AdaptedLoss, build_loss

WEIGHTS = [0.5, 1.0, 2.0]
LOGITS = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
TARGET = torch.randint(3, (2, 1, 16, 16), generator=torch.Generator().manual_seed(1))
HOT = F.one_hot(TARGET[:, 0], 3).movedim(-1, 1).float()


def _built(name: str, weights: list[float] | None = None, **params: object) -> AdaptedLoss:
    loss, _ = build_loss(name, params, out_channels=3, spatial_dims=2, class_weights=weights)
    return loss


@pytest.mark.parametrize(
    "name",
    [
        "DiceLoss",
        "DiceCELoss",
        "DiceFocalLoss",
        "FocalLoss",
        "TverskyLoss",
        "GeneralizedDiceLoss",
        "GeneralizedDiceFocalLoss",
        "HausdorffDTLoss",
        "LogHausdorffDTLoss",
        "MCCLoss",
        "BoundaryLoss",
        "SoftDiceclDiceLoss",
        "NACLLoss",
        "CrossEntropyLoss",
        "NLLLoss",
        "BCEWithLogitsLoss",
        "BCELoss",
        "MSELoss",
        "L1Loss",
        "SmoothL1Loss",
        "HuberLoss",
        "KLDivLoss",
    ],
)
def test_a_right_prediction_costs_less_than_a_wrong_one(name: str) -> None:
    loss = _built(name)
    right, wrong = 6 * HOT - 3, 6 * HOT.roll(1, 1) - 3
    right.requires_grad_()
    value = loss(right, TARGET)
    assert value.ndim == 0
    assert value < loss(wrong, TARGET)
    value.backward()
    assert torch.isfinite(right.grad).all()


def test_softmax_and_one_hot_are_filled_in_for_monai() -> None:
    reference = monai.losses.TverskyLoss(to_onehot_y=True, softmax=True)
    assert torch.equal(_built("TverskyLoss")(LOGITS, TARGET), reference(LOGITS, TARGET))


def test_an_activation_that_the_user_chose_is_kept() -> None:
    reference = monai.losses.DiceLoss(to_onehot_y=True, sigmoid=True)
    assert torch.equal(_built("DiceLoss", sigmoid=True)(LOGITS, TARGET), reference(LOGITS, TARGET))


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("CrossEntropyLoss", lambda: F.cross_entropy(LOGITS, TARGET[:, 0])),
        ("NLLLoss", lambda: F.cross_entropy(LOGITS, TARGET[:, 0])),
        ("BCEWithLogitsLoss", lambda: F.binary_cross_entropy_with_logits(LOGITS, HOT)),
        ("MSELoss", lambda: F.mse_loss(LOGITS.softmax(1), HOT)),
    ],
)
def test_torch_losses_get_labels_in_their_form(name: str, reference: object) -> None:
    torch.testing.assert_close(_built(name)(LOGITS, TARGET), reference())


@pytest.mark.parametrize(
    ("name", "params", "reference"),
    [
        ("CrossEntropyLoss", {}, nn.CrossEntropyLoss(torch.tensor(WEIGHTS))),
        (
            "DiceLoss",
            {"include_background": False},
            monai.losses.DiceLoss(
                include_background=False,
                to_onehot_y=True,
                softmax=True,
                weight=torch.tensor(WEIGHTS[1:]),
            ),
        ),
    ],
)
def test_class_weights_reach_losses_that_take_them(
    name: str, params: dict[str, object], reference: nn.Module
) -> None:
    target = TARGET[:, 0] if name == "CrossEntropyLoss" else TARGET
    loss = _built(name, WEIGHTS, **params)
    torch.testing.assert_close(loss(LOGITS, TARGET), reference(LOGITS, target))


def test_weights_written_as_a_list_become_a_tensor() -> None:
    reference = nn.CrossEntropyLoss(torch.tensor(WEIGHTS))
    loss = _built("CrossEntropyLoss", weight=WEIGHTS)
    torch.testing.assert_close(loss(LOGITS, TARGET), reference(LOGITS, TARGET[:, 0]))


def test_whether_class_weights_were_taken_is_told() -> None:
    options = {"out_channels": 3, "spatial_dims": 2, "class_weights": WEIGHTS}
    assert build_loss("dice_ce", {}, **options)[1]
    assert not build_loss("TverskyLoss", {}, **options)[1]


def test_a_cost_map_is_refused_where_it_would_be_ignored() -> None:
    with pytest.raises(ComponentError, match=r"'DiceLoss' cannot take a cost map.*Use dice_ce"):
        _built("DiceLoss")(LOGITS, TARGET, torch.ones(TARGET.shape))


def test_a_loss_that_is_no_number_is_refused() -> None:
    with pytest.raises(ComponentError, match="set its reduction to mean"):
        _built("MSELoss", reduction="none")(LOGITS, TARGET)


def test_images_are_compared_as_they_are() -> None:
    image = torch.rand(2, 3, 16, 16)
    loss, _ = build_loss("MSELoss", {}, out_channels=3, spatial_dims=2, labels=False)
    torch.testing.assert_close(loss(LOGITS, image), F.mse_loss(LOGITS, image))


def test_a_wrong_parameter_is_told_with_its_place() -> None:
    with pytest.raises(ComponentError, match=r"^task\.loss: loss 'DiceLoss' refused"):
        _built("DiceLoss", sofmax=True)
