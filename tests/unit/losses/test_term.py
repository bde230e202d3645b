"""A term reads what it is told to, in the form that it is told."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from imtoolkit.core.batch import MISSING_CLASS
from imtoolkit.core.errors import ComponentError
from imtoolkit.core.registry import builtins_of
from imtoolkit.losses.adapting import build_loss
from imtoolkit.losses.cross_entropy import CrossEntropyLoss
from imtoolkit.losses.pixelwise import MSELoss
from imtoolkit.losses.term import ACTIVATIONS, Term, resized
from imtoolkit.losses.weighted_sum import WeightedSum

GENERATOR = torch.Generator().manual_seed(0)
IMAGE = torch.rand(2, 3, 8, 8, generator=GENERATOR)
TARGET = torch.rand(2, 3, 8, 8, generator=GENERATOR)


def value(term: Term, raw: Tensor, **batch: Tensor) -> Tensor:
    return WeightedSum([term])(raw, batch)[0]


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("softmax", lambda x: x.softmax(1)),
        ("sigmoid", torch.sigmoid),
        ("tanh", torch.tanh),
        ("relu", torch.relu),
        ("exp", torch.exp),
    ],
)
def test_the_activation_comes_first(name: str, function: object) -> None:
    mine = value(Term("mse", MSELoss(), activation=name), IMAGE - 0.5, target=TARGET)
    torch.testing.assert_close(mine, F.mse_loss(function(IMAGE - 0.5), TARGET))
    assert name in ACTIVATIONS


def test_an_unknown_activation_is_refused_with_the_nearest() -> None:
    with pytest.raises(ComponentError, match="Did you mean 'softmax'"):
        Term("mse", MSELoss(), activation="sofmax")


def test_a_loss_with_an_activation_of_its_own_takes_no_other() -> None:
    for name in ("dice_ce", "bce", "CrossEntropyLoss", "lovasz"):
        with pytest.raises(ComponentError, match=r"task\.loss\.activation.*leave 'activation' out"):
            build_loss(name, {}, out_channels=3, spatial_dims=2, activation="softmax")


def test_probabilities_get_no_second_softmax() -> None:
    labels = torch.randint(3, (2, 1, 8, 8), generator=GENERATOR)
    for name in ("DiceLoss", "MSELoss", "NLLLoss", "KLDivLoss"):
        twice = [
            build_loss(name, {}, out_channels=3, spatial_dims=2, activation=activation)[0]
            for activation in (None, "softmax")
        ]
        torch.testing.assert_close(twice[1](IMAGE.softmax(1), labels), twice[0](IMAGE, labels))


def test_channels_are_those_of_the_target_and_of_a_prediction_of_as_many() -> None:
    term = Term("mse", MSELoss(), channels=(2, 0))
    expected = F.mse_loss(IMAGE[:, [2, 0]], TARGET[:, [2, 0]])
    torch.testing.assert_close(value(term, IMAGE, target=TARGET), expected)
    torch.testing.assert_close(value(term, IMAGE[:, [2, 0]], target=TARGET), expected)
    numbers = value(
        Term("mse", MSELoss(), channels=(1,)), IMAGE[:, :, 0, 0], target=TARGET[:, :, 0, 0]
    )
    torch.testing.assert_close(numbers, F.mse_loss(IMAGE[:, 1, 0, 0], TARGET[:, 1, 0, 0]))


def test_channels_that_are_not_there_are_refused() -> None:
    with pytest.raises(ComponentError, match=r"channels \[3\] of 'target', which has 3"):
        value(Term("mse", MSELoss(), channels=(3,)), IMAGE, target=TARGET)


def test_targets_are_resized_where_they_differ() -> None:
    term = Term("mse", MSELoss(), resize_target=True)
    expected = F.mse_loss(IMAGE[..., :4, :4], F.avg_pool2d(TARGET, 2))
    torch.testing.assert_close(value(term, IMAGE[..., :4, :4], target=TARGET), expected)
    torch.testing.assert_close(value(term, IMAGE, target=TARGET), F.mse_loss(IMAGE, TARGET))
    with pytest.raises(ComponentError, match=r"loss term 'mse': got a target of \(2, 3, 8, 8\)"):
        value(Term("mse", MSELoss()), IMAGE[..., :4, :4], target=TARGET)


@pytest.mark.parametrize("dims", [2, 3])
def test_labels_and_maps_are_resized_by_the_nearest_pixel(dims: int) -> None:
    size = (8,) * dims
    labels = torch.randint(70_000, (1, 1, *size), generator=GENERATOR, dtype=torch.int32)
    small = resized(labels, (4,) * dims)
    step = (slice(None), slice(None), *[slice(1, None, 2)] * dims)
    assert torch.equal(small, labels[step])
    assert torch.equal(resized(small, size)[step], small)
    large = resized(torch.ones(1, 1, *size), (12,) * dims)
    assert large.shape[2:] == (12,) * dims
    logits = torch.randn(1, 2, *(4,) * dims, generator=GENERATOR)
    weight = torch.rand((1, 1, *size), generator=GENERATOR)
    mine = value(
        Term("ce", CrossEntropyLoss(), resize_target=True), logits, target=labels % 2, weight=weight
    )
    expected = CrossEntropyLoss()(logits, (labels % 2)[step], weight[step])
    torch.testing.assert_close(mine, expected)


def test_maps_of_pixels_say_nothing_about_whole_images() -> None:
    logits, target = IMAGE[:, :, 0, 0], torch.tensor([0, 2])
    mine = value(
        Term("ce", CrossEntropyLoss()), logits, target=target, weight=torch.zeros(2, 1, 8, 8)
    )
    torch.testing.assert_close(mine, F.cross_entropy(logits, target))


def test_terms_are_computed_in_full_under_autocast() -> None:
    class Dot(nn.Module):
        def forward(self, prediction: Tensor, target: Tensor, weight: object = None) -> Tensor:
            found = prediction.flatten(1) @ target.flatten(1).T
            assert found.dtype == torch.float32
            return found.sum()

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert value(Term("dot", Dot()), IMAGE.bfloat16(), target=TARGET).dtype == torch.float32


class _Constant(nn.Module):
    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, prediction: Tensor, target: Tensor, weight: object = None) -> Tensor:
        return prediction.sum() * 0 + self.number


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_the_terms_of_the_last_call_tell_which_one_is_bad(number: float) -> None:
    total = WeightedSum([Term("good", _Constant(1.0)), Term("bad", _Constant(number), 1.0, 5)])
    loss, _ = total(IMAGE, {"target": TARGET}, 0)
    assert not torch.isfinite(loss)
    assert [name for name, term in total.last_terms.items() if not term.isfinite()] == ["bad"]


PARAMS: dict[str, dict[str, object]] = {
    "topological_interaction": {"exclusions": [[1, 2]]},
    "masked": {"loss": {"name": "DiceLoss", "params": {}}},
}
IMAGES = (
    *("mse", "rmse", "l1", "smooth_l1", "huber", "charbonnier", "psnr", "ssim", "ms_ssim", "fsim"),
    *("gaussian_derivative", "spectral", "wavelet", "perpendicular"),
)
# need other outputs, or a file
ELSEWHERE = ("computed", "supervised_contrastive", "perceptual", "embedseg")


NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU], id="cuda")]
)
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", [key for key in builtins_of("loss") if key not in ELSEWHERE])
def test_every_built_in_loss_is_a_term_that_warms_up(name: str, dims: int, device: str) -> None:
    if name == "persistent_homology":
        pytest.importorskip("gudhi")
    images = name in IMAGES
    loss, _ = build_loss(
        name, PARAMS.get(name, {}), out_channels=4, spatial_dims=dims, labels=not images
    )
    size = (12, 12) if dims == 2 else (4, 12, 12)
    raw = torch.randn(2, 4, *size, generator=GENERATOR).to(device).requires_grad_()
    target = (
        torch.rand(2, 4, *size, generator=GENERATOR)
        if images
        else torch.randint(4, (2, 1, *size), generator=GENERATOR)
    ).to(device)
    total = WeightedSum([Term(name, loss, warmup_steps=3)]).to(device)
    waiting, terms = total(raw, {"target": target}, 2)
    counting, _ = total(raw, {"target": target}, 3)
    assert waiting.item() == 0
    assert counting.item() == pytest.approx(terms[name].item())
    assert counting.item() != 0
    counting.backward()
    assert raw.grad is not None
    assert torch.isfinite(raw.grad).all()
    assert raw.grad.any()


# --- torch's own losses of whole images -----------------------------------------------------------

CLASSES = torch.tensor([0, MISSING_CLASS, 2, 1])
LOGITS = torch.randn(4, 3, generator=GENERATOR)
HOT = torch.eye(3)[[0, 2, 1]]
KNOWN = LOGITS[[0, 2, 3]]


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("CrossEntropyLoss", lambda: F.cross_entropy(KNOWN, CLASSES[[0, 2, 3]])),
        ("NLLLoss", lambda: F.cross_entropy(KNOWN, CLASSES[[0, 2, 3]])),
        ("MultiMarginLoss", lambda: F.multi_margin_loss(KNOWN, CLASSES[[0, 2, 3]])),
        ("BCEWithLogitsLoss", lambda: F.binary_cross_entropy_with_logits(KNOWN, HOT)),
        ("BCELoss", lambda: F.binary_cross_entropy(KNOWN.softmax(1), HOT)),
        ("MSELoss", lambda: F.mse_loss(KNOWN.softmax(1), HOT)),
        ("L1Loss", lambda: F.l1_loss(KNOWN.softmax(1), HOT)),
        ("SmoothL1Loss", lambda: F.smooth_l1_loss(KNOWN.softmax(1), HOT)),
        ("FocalLoss", lambda: _focal(KNOWN, CLASSES[[0, 2, 3]])),
    ],
)
def test_classes_of_images_reach_torchs_losses_in_their_form(name: str, reference: object) -> None:
    loss, _ = build_loss(name, {}, out_channels=3, spatial_dims=2)
    torch.testing.assert_close(loss(LOGITS, CLASSES), reference())


def _focal(logits: Tensor, labels: Tensor) -> Tensor:
    cost = F.cross_entropy(logits, labels, reduction="none")
    return ((1 - (-cost).exp()) ** 2 * cost).sum() / logits.numel()  # MONAI averages over classes


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "BCEWithLogitsLoss", "MSELoss", "FocalLoss"])
def test_a_batch_without_any_class_gives_zero_with_a_graph(name: str) -> None:
    loss, _ = build_loss(name, {}, out_channels=3, spatial_dims=2)
    logits = LOGITS.clone().requires_grad_()
    found = loss(logits, torch.full((4,), MISSING_CLASS))
    found.backward()
    assert found.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("BCEWithLogitsLoss", F.binary_cross_entropy_with_logits),
        ("BCELoss", lambda p, t: F.binary_cross_entropy(p.sigmoid(), t)),
        ("MSELoss", F.mse_loss),
        ("L1Loss", F.l1_loss),
        ("SmoothL1Loss", F.smooth_l1_loss),
        ("HuberLoss", F.huber_loss),
    ],
)
def test_unknown_entries_do_not_count_for_torchs_losses(name: str, reference: object) -> None:
    target = torch.randint(2, (4, 3), generator=GENERATOR).float()
    loss, _ = build_loss(name, {}, out_channels=3, spatial_dims=2, labels=False)
    torch.testing.assert_close(loss(LOGITS, target), reference(LOGITS, target))
    target[0, 1] = target[2] = torch.nan
    known = ~target.isnan()
    expected = reference(LOGITS[known], target[known])
    torch.testing.assert_close(loss(LOGITS, target), expected)
    logits = LOGITS.clone().requires_grad_()
    nothing = loss(logits, torch.full((4, 3), torch.nan))
    (1e6 * nothing).backward()
    assert nothing.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize(
    ("name", "reference"),
    [("MSELoss", F.mse_loss), ("L1Loss", F.l1_loss), ("HuberLoss", F.huber_loss)],
)
def test_torchs_means_over_pixels_honour_cost_maps(name: str, reference: object) -> None:
    loss, _ = build_loss(name, {}, out_channels=3, spatial_dims=2, labels=False)
    weight = torch.rand(2, 1, 8, 8, generator=GENERATOR)
    each = reference(IMAGE, TARGET, reduction="none")
    expected = (each * weight).sum() / (3 * weight.sum())
    torch.testing.assert_close(loss(IMAGE, TARGET, weight), expected)
    torch.testing.assert_close(loss(IMAGE, TARGET), reference(IMAGE, TARGET))


def test_hausdorff_losses_by_name_get_softmax_and_one_hot() -> None:
    from monai.losses import HausdorffDTLoss, LogHausdorffDTLoss

    labels = torch.randint(3, (2, 1, 8, 8), generator=GENERATOR)
    for reference in (HausdorffDTLoss, LogHausdorffDTLoss):
        loss, _ = build_loss(reference.__name__, {}, out_channels=3, spatial_dims=2)
        expected = reference(to_onehot_y=True, softmax=True)(IMAGE, labels)
        torch.testing.assert_close(loss(IMAGE, labels), expected)
