"""Losses between images equal references, honour cost maps, and are the same in 2D and 3D."""

from collections.abc import Callable

import monai.losses
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from imtoolkit.losses.derivatives import GaussianDerivativeLoss
from imtoolkit.losses.fsim import FSIMLoss, phase_congruency
from imtoolkit.losses.perpendicular import PerpendicularLoss
from imtoolkit.losses.pixelwise import (
    CharbonnierLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
    PSNRLoss,
    RMSELoss,
    SmoothL1Loss,
)
from imtoolkit.losses.similarity import MultiScaleSSIMLoss, SSIMLoss
from imtoolkit.losses.spectral import WAVELETS, SpectralLoss, WaveletLoss

PIXELWISE: list[Callable[..., nn.Module]] = [
    MSELoss,
    RMSELoss,
    L1Loss,
    SmoothL1Loss,
    HuberLoss,
    CharbonnierLoss,
]
MAPPED: list[Callable[..., nn.Module]] = [
    *PIXELWISE,
    PSNRLoss,
    SSIMLoss,
    MultiScaleSSIMLoss,
    FSIMLoss,
    GaussianDerivativeLoss,
    SpectralLoss,
    WaveletLoss,
    PerpendicularLoss,
]
LEAST = {PSNRLoss: -120.0, CharbonnierLoss: 1e-3, RMSELoss: 1e-6}


def drawn(dims: int = 2, channels: int = 2, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    size = (2, channels, *((24, 24) if dims == 2 else (5, 16, 16)))
    target = torch.rand(size, generator=generator)
    return (target + noise * torch.randn(size, generator=generator)).requires_grad_(), target


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("make", [*MAPPED, lambda: SpectralLoss("log_magnitude")])
def test_the_target_itself_costs_least_and_noise_costs_more_the_stronger_it_is(
    make: Callable[[], nn.Module], dims: int
) -> None:
    loss = make()
    values = [loss(*drawn(dims, noise=noise)).item() for noise in (0.0, 0.02, 0.1, 0.3)]
    assert values[0] == pytest.approx(LEAST.get(make, 0.0), abs=1e-4)
    assert values == sorted(values)
    assert values[-1] > values[0] + 1e-3


@pytest.mark.parametrize("make", MAPPED)
def test_the_gradient_at_the_target_is_finite(make: Callable[[], nn.Module]) -> None:
    _, target = drawn()
    prediction = target.clone().requires_grad_()
    make()(prediction, target).backward()
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad).all()


@pytest.mark.parametrize("make", MAPPED)
def test_a_map_of_ones_changes_nothing(make: Callable[[], nn.Module]) -> None:
    prediction, target = drawn()
    ones = torch.ones(2, 1, 24, 24)
    loss = make()
    torch.testing.assert_close(
        loss(prediction, target, ones), loss(prediction, target), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("make", MAPPED)
def test_pixels_of_weight_zero_get_no_gradient_and_may_hold_anything(
    make: Callable[[], nn.Module], dims: int
) -> None:
    prediction, target = drawn(dims)
    weight = torch.ones_like(target[:, :1])
    weight[..., 4:9] = 0
    loss = make()
    value = loss(prediction, target, weight)
    value.backward()
    assert prediction.grad is not None
    ignored = (weight == 0).expand_as(target)
    assert not prediction.grad[ignored].any()
    assert prediction.grad[~ignored].any()
    garbage = torch.where(ignored, 7.0, prediction.detach())
    torch.testing.assert_close(loss(garbage, target, weight), value)


@pytest.mark.parametrize("make", MAPPED)
def test_a_batch_that_is_ignored_whole_is_finite_and_has_a_graph(
    make: Callable[[], nn.Module],
) -> None:
    prediction, target = drawn()
    value = make()(prediction, target, torch.zeros(2, 1, 24, 24))
    (1e6 * value).backward()  # half precision scales losses
    assert torch.isfinite(value)
    assert prediction.grad is not None
    assert not prediction.grad.any()


@pytest.mark.parametrize("make", PIXELWISE)
def test_an_integer_weight_counts_as_repeated_pixels(make: Callable[[], nn.Module]) -> None:
    prediction, target = drawn()
    weight = torch.ones(2, 1, 24, 24)
    weight[..., :4] = 3.0
    repeats = torch.tensor([3] * 4 + [1] * 20)
    repeated = [tensor.repeat_interleave(repeats, -1) for tensor in (prediction, target)]
    torch.testing.assert_close(make()(prediction, target, weight), make()(*repeated))


@pytest.mark.parametrize(
    ("make", "reference"),
    [
        (MSELoss, F.mse_loss),
        (L1Loss, F.l1_loss),
        (lambda: SmoothL1Loss(0.1), lambda p, t: F.smooth_l1_loss(p, t, beta=0.1)),
        (lambda: HuberLoss(0.1), lambda p, t: F.huber_loss(p, t, delta=0.1)),
        (RMSELoss, lambda p, t: F.mse_loss(p, t).sqrt()),
        (lambda: CharbonnierLoss(0.1), lambda p, t: ((p - t).square() + 0.01).sqrt().mean()),
        (
            lambda: PSNRLoss(2.0),
            lambda p, t: (
                -peak_signal_noise_ratio(
                    p, t, data_range=2.0, reduction="elementwise_mean", dim=(1, 2, 3)
                )
            ),
        ),
    ],
)
def test_pixelwise_losses_are_those_of_torch(
    make: Callable[[], nn.Module], reference: Callable[[Tensor, Tensor], Tensor]
) -> None:
    prediction, target = drawn()
    torch.testing.assert_close(make()(prediction, target), reference(prediction, target))


@pytest.mark.parametrize("make", PIXELWISE)
def test_unknown_numbers_do_not_count(make: Callable[[], nn.Module]) -> None:
    prediction = torch.tensor([[1.0, 5.0], [2.0, 9.0]], requires_grad=True)
    target = torch.tensor([[1.5, torch.nan], [torch.nan, 8.0]])
    value = make()(prediction, target)
    value.backward()
    torch.testing.assert_close(value, make()(torch.tensor([[1.0, 9.0]]), torch.tensor([[1.5, 8]])))
    assert prediction.grad is not None
    assert (prediction.grad != 0).tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize("make", PIXELWISE)
def test_a_batch_without_any_number_gives_zero_with_a_graph(
    make: Callable[[], nn.Module],
) -> None:
    prediction = torch.ones(3, 1, requires_grad=True)
    value = make()(prediction, torch.full((3,), torch.nan))
    value.backward()
    assert value.item() == pytest.approx(0.0, abs=2e-6)
    assert prediction.grad is not None
    assert not prediction.grad.any()


@pytest.mark.parametrize("make", MAPPED)
def test_a_pixel_that_is_nan_is_seen(make: Callable[[], nn.Module]) -> None:
    prediction, target = drawn()
    target[0, 0, 12, 12] = torch.nan
    assert not torch.isfinite(make()(prediction, target))


@pytest.mark.parametrize("make", MAPPED)
def test_half_precision_is_computed_in_full_also_under_autocast(
    make: Callable[[], nn.Module],
) -> None:
    prediction, target = (image.detach().to(torch.bfloat16) for image in drawn())
    expected = make()(prediction.float(), target.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = make()(prediction, target)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("dims", [2, 3])
def test_ssim_is_monais(dims: int) -> None:
    generator = torch.Generator().manual_seed(1)
    target = 3 * torch.rand((2, 2, *(16,) * dims), generator=generator)
    prediction = target + 0.5 * torch.randn(target.shape, generator=generator)
    mine = SSIMLoss(data_range=3.0)(prediction, target)
    reference = monai.losses.SSIMLoss(spatial_dims=dims, data_range=3.0)
    torch.testing.assert_close(mine, reference(prediction, target), rtol=1e-4, atol=1e-4)


def test_ssim_of_one_window_is_its_formula() -> None:
    p, t = (np.asarray(image.detach()[:1, :1, :11, :11], np.float64) for image in drawn())
    x = np.arange(-5, 6)
    g = np.exp(-(x**2) / (2 * 1.5**2))
    window = np.outer(g, g) / g.sum() ** 2
    mp, mt = (window * p).sum(), (window * t).sum()
    vp, vt = (window * p**2).sum() - mp**2, (window * t**2).sum() - mt**2
    both = (window * p * t).sum() - mp * mt
    expected = ((2 * mp * mt + 1e-4) * (2 * both + 9e-4)) / (
        (mp**2 + mt**2 + 1e-4) * (vp + vt + 9e-4)
    )
    mine = SSIMLoss(1.0)(torch.tensor(p).float(), torch.tensor(t).float())
    assert mine.item() == pytest.approx(1 - expected, abs=1e-5)


def test_ssim_keeps_its_digits_far_from_zero() -> None:
    prediction, target = drawn()
    near = SSIMLoss(1.0)(prediction, target)
    # the luminance of a far image is 1, contrast and structure do not change
    contrast = SSIMLoss(1.0).maps(prediction, target, None, torch.tensor(1.0))[1].mean()
    far = SSIMLoss(1.0)(prediction + 1000, target + 1000)
    torch.testing.assert_close(1 - far, contrast, rtol=1e-2, atol=1e-2)
    assert near > 0


def test_volumes_slice_by_slice_are_images() -> None:
    prediction, target = drawn(3)
    images = [image.movedim(2, 1).flatten(0, 1) for image in (prediction, target)]
    for make in (SSIMLoss, MultiScaleSSIMLoss):
        mine = make(1.0, per_slice=True)(prediction, target)
        torch.testing.assert_close(mine, make(1.0)(*images))
    torch.testing.assert_close(FSIMLoss(1.0)(prediction, target), FSIMLoss(1.0)(*images))


def test_ssim_and_ms_ssim_are_torchmetrics() -> None:
    generator = torch.Generator().manual_seed(2)
    target = F.avg_pool2d(torch.rand(2, 1, 360, 360, generator=generator), 2)
    prediction = target + 0.1 * torch.randn(target.shape, generator=generator)
    metric = structural_similarity_index_measure(prediction, target, data_range=1.0)
    torch.testing.assert_close(1 - SSIMLoss(1.0)(prediction, target), metric, rtol=2e-3, atol=2e-3)
    reference = multiscale_structural_similarity_index_measure(prediction, target, data_range=1.0)
    mine = 1 - MultiScaleSSIMLoss(1.0)(prediction, target)
    torch.testing.assert_close(mine, reference, rtol=2e-3, atol=2e-3)


def test_the_opposite_of_an_image_still_has_a_gradient_towards_it() -> None:
    target = torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    prediction = (1 - target).requires_grad_()
    loss = MultiScaleSSIMLoss(1.0)
    value = loss(prediction, target)
    (slope,) = torch.autograd.grad(value, prediction)
    assert slope.any()
    assert loss(prediction - slope / slope.abs().max(), target) < value


def test_scales_that_do_not_fit_are_refused_with_their_number() -> None:
    with pytest.raises(ValueError, match="at most 2: shorten scale_weights"):
        MultiScaleSSIMLoss(1.0, scale_weights=[0.2, 0.3, 0.5])(*drawn())


def test_thin_volumes_are_halved_in_the_plane_alone() -> None:
    target = torch.rand(1, 1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    seen: list[tuple[int, ...]] = []

    class Watched(MultiScaleSSIMLoss):
        def maps(self, prediction: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
            seen.append(tuple(prediction.shape[2:]))
            return super().maps(prediction, *rest)

    assert Watched(1.0)(target, target).item() == pytest.approx(0, abs=1e-5)
    assert seen == [(3, 48, 48), (3, 24, 24), (3, 12, 12)]


def test_an_image_with_a_constant_target_gives_a_finite_loss() -> None:
    prediction, target = drawn()
    for make in (SSIMLoss, MultiScaleSSIMLoss, PSNRLoss, FSIMLoss):
        value = make()(prediction, torch.full_like(target, 0.5))
        value.backward()
        assert torch.isfinite(value)


def framed(noise: float) -> Tensor:
    """Draw waves and a disc in a frame of zeros, where all ways to continue an image agree."""
    y, x = np.mgrid[:96, :96]
    image = 128 + 60 * np.sin(x / 5) * np.cos(y / 7) + 50 * ((x - 40) ** 2 + (y - 50) ** 2 < 400)
    image = image + noise * np.sin(1.7 * x + 2.3 * y) * np.cos(0.9 * x * y)
    image[:4] = image[-4:] = 0
    image[:, :4] = image[:, -4:] = 0
    return torch.tensor(image).float()[None, None].clamp(0, 255)


@pytest.mark.parametrize(("noise", "expected"), [(5, 0.991817), (20, 0.920244), (60, 0.703927)])
def test_fsim_is_that_of_an_independent_implementation(noise: float, expected: float) -> None:
    # from `piq.fsim(..., data_range=255, chromatic=False)` of piq 0.8.0
    assert 1 - FSIMLoss(255.0)(framed(noise), framed(0)).item() == pytest.approx(expected, abs=2e-5)


def test_phase_congruency_does_not_depend_on_contrast() -> None:
    image = framed(0)
    torch.testing.assert_close(
        phase_congruency(image), phase_congruency(3 * image + 10), rtol=1e-3, atol=1e-3
    )
    found = phase_congruency(image)
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("dims", [2, 3])
def test_first_derivatives_of_a_slope_are_its_slope(dims: int) -> None:
    line = torch.arange(48.0)
    slope = (
        (2 * line).expand(1, 1, *(48,) * dims) if dims == 2 else (2 * line).expand(1, 1, 9, 9, 48)
    )
    inner = GaussianDerivativeLoss([1.0])._derivative(slope, 1.0, [dims - 1])
    torch.testing.assert_close(inner[..., 8:-8], torch.full_like(inner[..., 8:-8], 2.0))
    other = GaussianDerivativeLoss([1.0])._derivative(slope, 1.0, [0])
    torch.testing.assert_close(other, torch.zeros_like(other), atol=1e-4, rtol=0)


def test_second_derivatives_of_a_parabola_are_constant_and_scale_with_the_width() -> None:
    line = torch.arange(-24.0, 25.0)
    parabola = (line**2).expand(1, 1, 49, 49)
    found = GaussianDerivativeLoss(order=2)._derivative(parabola, 2.0, [1, 1])
    inner = found[..., 10:-10]
    torch.testing.assert_close(inner, torch.full_like(inner, 8.0), rtol=1e-4, atol=1e-3)


def test_gaussian_derivatives_are_scipys() -> None:
    from scipy.ndimage import gaussian_filter

    prediction, target = (image.detach() for image in drawn())
    difference = (prediction - target).numpy().astype(np.float64)
    means = [
        np.abs(2.0 * gaussian_filter(image, 2.0, order=order, mode="nearest", truncate=3.5)).mean()
        for image in difference.reshape(-1, 24, 24)
        for order in ((0, 1), (1, 0))
    ]
    mine = GaussianDerivativeLoss([2.0])(prediction, target)
    assert mine.item() == pytest.approx(np.mean(means), rel=0.03)  # scipy does not normalise ramps


@pytest.mark.parametrize("dims", [2, 3])
def test_squared_spectra_and_wavelets_keep_lengths(dims: int) -> None:
    target = torch.rand(2, 2, *(16,) * dims, generator=torch.Generator().manual_seed(0))
    prediction = target.flip(-1)
    weight = torch.rand(2, 1, *(16,) * dims, generator=torch.Generator().manual_seed(1))
    plain, weighted = MSELoss()(prediction, target), MSELoss()(prediction, target, weight)
    losses: list[nn.Module] = [SpectralLoss(norm="l2")]
    losses += [WaveletLoss(name, levels=2, norm="l2") for name in WAVELETS]
    for loss in losses:
        torch.testing.assert_close(loss(prediction, target), plain)
        torch.testing.assert_close(loss(prediction, target, weight), weighted)


@pytest.mark.parametrize("name", WAVELETS)
def test_wavelet_filters_are_orthonormal_and_blind_to_polynomials(name: str) -> None:
    low = np.array(WAVELETS[name])
    assert low.sum() == pytest.approx(np.sqrt(2), abs=1e-10)
    for shift in range(0, len(low), 2):
        product = (low[shift:] * low[: len(low) - shift]).sum()
        assert product == pytest.approx(1.0 if shift == 0 else 0.0, abs=1e-10)
    high = low[::-1] * (-1.0) ** np.arange(len(low))
    for power in range(len(low) // 2):
        assert (high * np.arange(len(low)) ** power).sum() == pytest.approx(0, abs=1e-7)


def test_haar_coefficients_are_sums_and_differences() -> None:
    image = torch.tensor([[1.0, 2.0], [3.0, 6.0]]).reshape(1, 1, 2, 2)
    coarse, details = WaveletLoss("haar")._parted(image)
    assert coarse.item() == pytest.approx(6.0)  # (1 + 2 + 3 + 6) / 2
    assert sorted(abs(band.item()) for band in details) == pytest.approx([1.0, 2.0, 3.0])
    assert WaveletLoss("haar", levels=1, coarse=False)(image, image * 0).item() == pytest.approx(
        6 / 4
    )


def test_log_magnitudes_do_not_see_shifts_and_take_no_cost_map() -> None:
    _, target = drawn()
    moved = target.roll((3, 5), (2, 3))
    assert SpectralLoss("log_magnitude")(moved, target).item() == pytest.approx(0, abs=1e-5)
    assert SpectralLoss("complex")(moved, target).item() > 0.1
    with pytest.raises(ValueError, match="Set compare: complex"):
        SpectralLoss("log_magnitude")(moved, target, torch.ones(2, 1, 24, 24))


def polar(size: Tensor, angle: Tensor) -> Tensor:
    return torch.stack([size * angle.cos(), size * angle.sin()], 1)  # (B, 2, Y, X)


COMPLEX: list[Callable[..., nn.Module]] = [
    *PIXELWISE,
    PSNRLoss,
    SSIMLoss,
    MultiScaleSSIMLoss,
    FSIMLoss,
    GaussianDerivativeLoss,
    WaveletLoss,
]


@pytest.mark.parametrize("make", COMPLEX)
def test_complex_images_are_compared_by_magnitude(make: Callable[..., nn.Module]) -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = [torch.rand(2, 24, 24, generator=generator) for _ in range(2)]
    angles = [7 * torch.rand(2, 24, 24, generator=generator) for _ in range(2)]
    images = [polar(size, angle) for size, angle in zip(sizes, angles, strict=True)]
    mine = make(complex_channels=True)(*images)
    torch.testing.assert_close(mine, make()(*(size[:, None] for size in sizes)))
    zero = torch.zeros(2, 2, 24, 24, requires_grad=True)
    make(complex_channels=True)(zero, images[1]).backward()
    assert zero.grad is not None
    assert torch.isfinite(zero.grad).all()
    with pytest.raises(ValueError, match="expected pairs of real and imaginary part"):
        make(complex_channels=True)(images[0][:, :1], images[1][:, :1])


def test_the_spectrum_of_complex_channels_is_that_of_the_complex_image() -> None:
    prediction, target = (image.detach() for image in drawn())
    values = [image[:, 0].numpy() + 1j * image[:, 1].numpy() for image in (prediction, target)]
    spectra = [np.fft.fft2(value, norm="ortho") for value in values]
    mine = SpectralLoss(complex_channels=True)(prediction, target)
    assert mine.item() == pytest.approx(np.abs(spectra[0] - spectra[1]).mean(), rel=1e-4)


def test_perpendicular_is_its_closed_form_and_symmetric_in_magnitude() -> None:
    angle = torch.linspace(-3, 3, 49).reshape(1, 7, 7)
    size = torch.full_like(angle, 2.0)
    target = polar(size, torch.zeros_like(angle))
    loss = PerpendicularLoss("none", eps=1e-9)
    sine = angle.sin().abs()
    phase = 2 * torch.where(angle.cos() >= 0, sine, 2 - sine)
    torch.testing.assert_close(loss(polar(size, angle), target), phase.mean())
    # the same error of the angle costs the same, whatever the magnitude of the prediction
    torch.testing.assert_close(loss(polar(5 * size, angle), target), phase.mean())
    whole = PerpendicularLoss("l1", eps=1e-9)
    shares = [whole(polar(size + step, angle), target) for step in (-1, 1)]
    torch.testing.assert_close(shares[0], shares[1])
    torch.testing.assert_close(shares[0], phase.mean() + 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SSIMLoss(window=4), "expected an odd size"),
        (lambda: SSIMLoss(data_range=0), "got the data_range 0"),
        (lambda: CharbonnierLoss(0.0), "got eps 0.0"),
        (lambda: WaveletLoss("db3"), "got wavelet 'db3'; expected haar or db2 or db4"),
        (lambda: WaveletLoss(levels=0), "got levels 0"),
        (lambda: SpectralLoss("phase"), "got compare 'phase'"),
        (lambda: GaussianDerivativeLoss([0.0]), "got sigmas"),
        (lambda: PerpendicularLoss("l3"), "got magnitude 'l3'"),
        (lambda: MultiScaleSSIMLoss(scale_weights=[]), "got scale_weights"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(
    make: Callable[[], nn.Module], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", MAPPED)
def test_shapes_that_do_not_fit_are_told(make: Callable[[], nn.Module]) -> None:
    prediction, target = drawn()
    with pytest.raises(ValueError, match=r"got a target of \(2, 1, 24, 24\) for a prediction"):
        make()(prediction, target[:, :1])
    with pytest.raises(ValueError, match=r"got a weight of \(2, 24, 24\)"):
        make()(prediction, target, torch.ones(2, 24, 24))
