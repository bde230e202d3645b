"""Our losses equal MONAI's and torch's, and pixels of weight 0 do not exist for them."""

from collections.abc import Callable

import monai.losses
import pytest
import torch
from torch import Tensor, nn

from imtoolkit.losses.cross_entropy import CrossEntropyLoss, FocalLoss
from imtoolkit.losses.dice import DiceCELoss, DiceFocalLoss, DiceLoss

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


@pytest.mark.parametrize("make", [CrossEntropyLoss, FocalLoss])
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
    value.backward()
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
