"""Our losses equal MONAI's and torch's, and pixels of weight 0 do not exist for them."""

from collections.abc import Callable

import monai.losses
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imtoolkit.core.batch import MISSING_CLASS
from imtoolkit.losses.binary import BCELoss
from imtoolkit.losses.connectivity import ConnectivityLoss
from imtoolkit.losses.cross_entropy import CrossEntropyLoss, FocalLoss
from imtoolkit.losses.dice import DiceCELoss, DiceFocalLoss, DiceLoss
from imtoolkit.losses.generalized_dice import GeneralizedDiceFocalLoss, GeneralizedDiceLoss
from imtoolkit.losses.lovasz import LovaszLoss
from imtoolkit.losses.topological_interaction import TopologicalInteractionLoss

WEIGHTS = [0.5, 1.0, 2.0]
MINE: list[Callable[[], nn.Module]] = [
    DiceLoss,
    lambda: DiceLoss(batch=False, include_background=False),
    CrossEntropyLoss,
    FocalLoss,
    DiceCELoss,
    DiceFocalLoss,
    lambda: DiceCELoss(class_weights=WEIGHTS),
    lambda: FocalLoss(class_weights=WEIGHTS),
    GeneralizedDiceLoss,
    GeneralizedDiceFocalLoss,
    LovaszLoss,
    lambda: LovaszLoss(per_image=True, include_background=False),
    BCELoss,
    lambda: BCELoss(2.0, class_weights=WEIGHTS, pos_weight=2.0),
    ConnectivityLoss,
    lambda: TopologicalInteractionLoss(exclusions=[[1, 2]], inclusions=[[1, 0]]),
]


def drawn(dims: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    size = (8,) * dims
    logits = torch.randn((2, 3, *size), generator=generator, requires_grad=True)
    return logits, torch.randint(3, (2, 1, *size), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("background", [True, False])
def test_dice_is_monais(dims: int, batch: bool, background: bool) -> None:
    logits, target = drawn(dims)
    options = {"batch": batch, "include_background": background}
    reference = monai.losses.DiceLoss(to_onehot_y=True, softmax=True, **options)
    torch.testing.assert_close(DiceLoss(**options)(logits, target), reference(logits, target))


@pytest.mark.parametrize("background", [True, False])
def test_dice_ce_with_class_weights_is_monais(background: bool) -> None:
    logits, target = drawn()
    reference = monai.losses.DiceCELoss(
        to_onehot_y=True,
        softmax=True,
        batch=True,
        include_background=background,
        weight=torch.tensor(WEIGHTS),
        label_smoothing=0.1,
    )
    mine = DiceCELoss(class_weights=WEIGHTS, include_background=background, label_smoothing=0.1)
    torch.testing.assert_close(mine(logits, target), reference(logits, target))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("mapped", [True, False])
def test_cross_entropy_is_torchs(
    smoothing: float, weights: list[float] | None, mapped: bool
) -> None:
    logits, target = drawn(3)
    ones = torch.ones(target.shape) if mapped else None
    tensor = None if weights is None else torch.tensor(weights)
    reference = nn.CrossEntropyLoss(tensor, label_smoothing=smoothing)
    mine = CrossEntropyLoss(class_weights=weights, label_smoothing=smoothing)
    expected = reference(logits, target[:, 0].long())
    torch.testing.assert_close(mine(logits, target, ones), expected)


def test_focal_is_monais_summed_over_classes() -> None:
    logits, target = drawn()
    reference = monai.losses.FocalLoss(to_onehot_y=True, use_softmax=True, gamma=1.5)
    # MONAI divides by the number of classes as well
    torch.testing.assert_close(FocalLoss(1.5)(logits, target), 3 * reference(logits, target))


@pytest.mark.parametrize("make", MINE)
def test_a_map_of_ones_changes_nothing(make: Callable[[], nn.Module]) -> None:
    logits, target = drawn()
    loss = make()
    ones = torch.ones(target.shape)
    torch.testing.assert_close(loss(logits, target, ones), loss(logits, target))


@pytest.mark.parametrize("make", MINE)
def test_pixels_of_weight_zero_get_no_gradient_and_do_not_count(
    make: Callable[[], nn.Module],
) -> None:
    logits, target = drawn()
    weight = (torch.rand(target.shape, generator=torch.Generator().manual_seed(1)) > 0.4).float()
    loss = make()
    value = loss(logits, target, weight)
    value.backward()
    assert logits.grad is not None
    ignored = weight[:, 0] == 0
    assert torch.equal(logits.grad.movedim(1, -1)[ignored], torch.zeros(int(ignored.sum()), 3))
    assert (logits.grad.movedim(1, -1)[~ignored] != 0).any()
    elsewhere = torch.where(weight > 0, logits, 50.0)
    marked = torch.where(weight > 0, target, 255)  # a label outside the classes, as many sets use
    torch.testing.assert_close(loss(elsewhere, marked, weight), value)


@pytest.mark.parametrize(
    "make", [CrossEntropyLoss, FocalLoss, GeneralizedDiceLoss, LovaszLoss, BCELoss]
)
def test_an_integer_weight_counts_as_repeated_pixels(make: Callable[[], nn.Module]) -> None:
    logits, target = drawn()
    weight = torch.ones(target.shape)
    weight[..., :4] = 3.0
    repeats = torch.tensor([3] * 4 + [1] * 4)
    repeated = [tensor.repeat_interleave(repeats, -1) for tensor in (logits, target)]
    torch.testing.assert_close(make()(logits, target, weight), make()(*repeated))


@pytest.mark.parametrize("make", MINE)
def test_an_image_that_is_ignored_whole_gives_a_finite_loss(make: Callable[[], nn.Module]) -> None:
    logits, target = drawn()
    value = make()(logits, target, torch.zeros(target.shape))
    (1e6 * value).backward()  # half precision scales losses
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("make", MINE)
def test_half_precision_is_summed_in_full(make: Callable[[], nn.Module]) -> None:
    logits, target = drawn()
    assert make()(logits.detach().to(torch.bfloat16), target).dtype == torch.float32


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (torch.zeros(2, 8, 8, dtype=torch.long), r"got a target of \(2, 8, 8\)"),
        (torch.zeros(2, 1, 8, 8), "expected integer labels"),
    ],
)
def test_a_target_of_another_form_is_refused(target: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DiceLoss()(torch.zeros(2, 3, 8, 8), target)


def test_negative_class_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="got class weights"):
        DiceLoss(class_weights=[1.0, -1.0, 1.0])


@pytest.mark.parametrize("make", MINE)
def test_volumes_of_one_slice_are_images(make: Callable[[], nn.Module]) -> None:
    logits, target = drawn()
    torch.testing.assert_close(
        make()(logits[:, :, None], target[:, :, None]), make()(logits, target)
    )


@pytest.mark.parametrize("weighting", ["square", "simple", "uniform"])
@pytest.mark.parametrize("batch", [True, False])
def test_generalized_dice_is_monais_also_where_a_class_is_absent(
    weighting: str, batch: bool
) -> None:
    logits, target = drawn()
    target[target == 2] = 1
    reference = monai.losses.GeneralizedDiceLoss(
        to_onehot_y=True, softmax=True, batch=batch, w_type=weighting
    )
    mine = GeneralizedDiceLoss(weighting=weighting, batch=batch)
    torch.testing.assert_close(mine(logits, target), reference(logits, target))


def _jaccard_extension(errors: np.ndarray, truth: np.ndarray, counts: np.ndarray) -> float:
    """Sum the errors times what each pixel adds to the Jaccard loss, from the largest error."""
    total, before, wrong = 0.0, 0.0, np.zeros(len(errors), bool)
    for pixel in np.argsort(-errors):
        wrong[pixel] = True
        guess = truth ^ wrong
        union = (counts * (truth | guess)).sum()
        loss = 1 - (counts * (truth & guess)).sum() / union if union else 0.0
        total += errors[pixel] * (loss - before)
        before = loss
    return total


def test_lovasz_is_the_extension_of_the_weighted_jaccard_index() -> None:
    logits, target = drawn()
    weight = torch.rand(target.shape, generator=torch.Generator().manual_seed(3))
    likely = logits.detach().softmax(1).numpy().astype(float)
    each = []
    for number in range(3):
        truth = target.numpy().ravel() == number
        errors = np.abs(truth - likely[:, number].ravel())
        each.append(_jaccard_extension(errors, truth, weight.numpy().ravel()))
    mine = LovaszLoss()(logits, target, weight)
    assert mine.item() == pytest.approx(np.mean(each), abs=1e-5)


def test_lovasz_hinge_of_one_channel() -> None:
    logits, target = drawn()
    binary = (target > 0).long()
    truth = binary.numpy().ravel() > 0
    errors = np.maximum(0, 1 - np.where(truth, 1, -1) * logits[:, 0].detach().numpy().ravel())
    expected = _jaccard_extension(errors, truth, np.ones(len(truth)))
    assert LovaszLoss()(logits[:, :1], binary).item() == pytest.approx(expected, abs=1e-4)


def test_classes_that_are_absent_count_where_asked_for() -> None:
    logits = torch.zeros(1, 2, 4, 4)
    target = torch.zeros(1, 1, 4, 4, dtype=torch.long)
    assert LovaszLoss()(logits, target).item() == pytest.approx(0.5)
    # of class 1 any error is a Jaccard loss of 1: the largest error counts
    assert LovaszLoss(only_present=False)(logits, target).item() == pytest.approx(0.5)
    assert LovaszLoss(include_background=False)(logits, target).item() == 0


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_binary_cross_entropy_is_torchs(smoothing: float) -> None:
    logits, target = drawn()
    hot = torch.zeros_like(logits).scatter_(1, target.long(), 1.0)
    positive = torch.tensor(WEIGHTS)
    reference = nn.BCEWithLogitsLoss(pos_weight=positive.reshape(3, 1, 1))
    mine = BCELoss(pos_weight=WEIGHTS, label_smoothing=smoothing)
    expected = reference(logits, hot * (1 - smoothing) + smoothing / 2)
    torch.testing.assert_close(mine(logits, target), expected)
    torch.testing.assert_close(mine(logits, hot), expected)


def test_binary_focal_is_monais_without_softmax() -> None:
    logits, target = drawn()
    reference = monai.losses.FocalLoss(to_onehot_y=True, gamma=2.0)
    torch.testing.assert_close(BCELoss(gamma=2.0)(logits, target), reference(logits, target))


def test_one_channel_is_class_one_against_class_zero() -> None:
    logits, target = drawn()
    two = torch.cat([torch.zeros_like(logits[:, :1]), logits[:, :1]], 1)
    binary = (target > 0).long()
    expected = CrossEntropyLoss()(two, binary)
    torch.testing.assert_close(BCELoss()(logits[:, :1], binary), expected)
    mine = ConnectivityLoss()(logits[:, :1], binary)
    torch.testing.assert_close(mine, ConnectivityLoss()(two, binary))


@pytest.mark.parametrize("make", [CrossEntropyLoss, FocalLoss, BCELoss, DiceLoss])
def test_images_of_unknown_class_do_not_count(make: Callable[[], nn.Module]) -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    target = torch.tensor([0, MISSING_CLASS, 2, MISSING_CLASS])
    value = make()(logits, target)
    torch.testing.assert_close(value, make()(logits[[0, 2]], target[[0, 2]]))
    value.backward()
    assert logits.grad is not None
    assert logits.grad.any(1).tolist() == [True, False, True, False]


@pytest.mark.parametrize("make", [CrossEntropyLoss, FocalLoss, BCELoss])
def test_a_batch_without_any_label_gives_zero_with_a_graph(make: Callable[[], nn.Module]) -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    value = make()(logits, torch.full((2,), MISSING_CLASS))
    (1e6 * value).backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_images_is_torchs(smoothing: float) -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 2, MISSING_CLASS, 1, 1])
    options = {"label_smoothing": smoothing}
    reference = nn.CrossEntropyLoss(
        torch.tensor(WEIGHTS), ignore_index=MISSING_CLASS, label_smoothing=smoothing
    )
    mine = CrossEntropyLoss(class_weights=WEIGHTS, **options)
    torch.testing.assert_close(mine(logits, target), reference(logits, target))


def test_unknown_entries_of_several_labels_do_not_count() -> None:
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    target = torch.tensor([[1.0, torch.nan, 0.0], [torch.nan, torch.nan, 1.0]])
    value = BCELoss()(logits, target)
    known = ~target.isnan()
    reference = nn.functional.binary_cross_entropy_with_logits(logits[known], target[known])
    torch.testing.assert_close(value, reference)
    value.backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad != 0, known)
