"""Measures of images against skimage, torchmetrics and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from imtoolkit.core import registry
from imtoolkit.metrics.base import ImageMetric
from imtoolkit.metrics.images import (
    AffinePsnrMetric,
    MaeMetric,
    PearsonMetric,
    PsnrMetric,
    RmseMetric,
)
from imtoolkit.metrics.structure import AffineSsimMetric, MsSsimMetric, SsimMetric
from imtoolkit.metrics.suite import MetricSuite

ALL = (
    *(MaeMetric, RmseMetric, PearsonMetric, PsnrMetric, AffinePsnrMetric),
    *(SsimMetric, AffineSsimMetric, MsSsimMetric),
)


def pair(shape: tuple[int, ...], noise: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Return a noisy image and a smooth one."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*(np.linspace(0, 9, n) for n in shape), indexing="ij")).sum(0)
    clean = 0.5 + 0.5 * np.sin(grid)
    return clean + noise * rng.normal(size=shape), clean


def dims(shape: tuple[int, ...]) -> dict[str, int]:
    return {"spatial_dims": len(shape)}


@pytest.mark.parametrize("shape", [(40, 33), (15, 22, 19)])
@pytest.mark.parametrize("data_range", [None, 1.5])
def test_psnr_and_ssim_agree_with_skimage(shape, data_range) -> None:
    noisy, clean = pair(shape)
    span = data_range or np.ptp(clean)
    found = PsnrMetric(data_range, **dims(shape))(noisy, clean)
    theirs = peak_signal_noise_ratio(clean, noisy, data_range=span)
    assert found == {"psnr": pytest.approx(theirs)}
    found = SsimMetric(data_range, **dims(shape))(noisy, clean)
    theirs = structural_similarity(
        *(clean, noisy),
        data_range=span,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert found == {"ssim": pytest.approx(theirs, abs=1e-9)}


def test_ms_ssim_agrees_with_torchmetrics() -> None:
    noisy, clean = pair((192, 200))
    theirs = multiscale_structural_similarity_index_measure(
        *(torch.as_tensor(image)[None, None] for image in (noisy, clean)), data_range=1.0
    )
    # torchmetrics mirrors the image before it crops, which changes nothing but the rounding
    found = MsSsimMetric(1.0)(noisy, clean)["ms_ssim"]
    assert found == pytest.approx(float(theirs), abs=2e-3)


def test_small_and_thin_images_have_fewer_scales() -> None:
    for shape in ((12, 12), (30, 64), (4, 64, 64)):
        noisy, clean = pair(shape)
        assert MsSsimMetric(**dims(shape))(clean, clean)["ms_ssim"] == pytest.approx(1.0)
        assert 0 < MsSsimMetric(**dims(shape))(noisy, clean)["ms_ssim"] < 1
    noisy, clean = pair((12, 12))  # a single scale is SSIM
    one = MsSsimMetric()(noisy, clean)["ms_ssim"]
    assert one == pytest.approx(SsimMetric()(noisy, clean)["ssim"] ** 1.0001)


def test_errors_and_correlation_have_their_closed_forms() -> None:
    target = np.array([[0.0, 1.0], [2.0, 3.0]])
    error = np.array([[1, -1], [3, 1]])
    assert MaeMetric()(target + error, target) == {"mae": 1.5}
    assert RmseMetric()(target + error, target) == {"rmse": math.sqrt(3)}
    assert PearsonMetric()(5 - 2 * target, target)["pearson"] == pytest.approx(-1.0)


def test_gain_and_offset_are_forgiven_by_the_affine_ones_alone() -> None:
    noisy, clean = pair((40, 40))
    other = 37.0 * noisy - 1000.0
    assert PsnrMetric()(other, clean)["psnr"] < -40
    assert AffineSsimMetric()(other, clean)["affine_ssim"] == pytest.approx(
        AffineSsimMetric()(noisy, clean)["affine_ssim"]
    )
    # what is left after the best fit is known from the correlation
    r = np.corrcoef(noisy.ravel(), clean.ravel())[0, 1]
    left = clean.var() * (1 - r**2)
    expected = 10 * math.log10(np.ptp(clean) ** 2 / left)
    assert AffinePsnrMetric()(other, clean)["affine_psnr"] == pytest.approx(expected)
    assert AffinePsnrMetric()(np.full((40, 40), 7.0), clean)["affine_psnr"] == pytest.approx(
        10 * math.log10(np.ptp(clean) ** 2 / clean.var())
    )


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("shape", [(48, 48), (8, 30, 30)])
def test_pixels_without_weight_change_nothing(kind, shape) -> None:
    noisy, clean = pair(shape)
    weight = np.ones(shape)
    weight[..., 20:, 20:] = 0
    spoilt = np.where(weight > 0, noisy, 99.0)
    metric = kind(**dims(shape))
    assert metric(spoilt, clean, weight=weight) == metric(noisy, clean, weight=weight)
    assert metric(spoilt, clean) != metric(noisy, clean)
    nothing = metric(noisy, clean, weight=np.zeros(shape))
    assert all(math.isnan(value) for value in nothing.values())


@pytest.mark.parametrize("kind", ALL)
def test_each_channel_is_measured_by_itself(kind) -> None:
    noisy, clean = pair((32, 32))
    target = np.stack([clean, 100 * clean])
    prediction = np.stack([noisy, 100 * clean.T + 3])
    metric: ImageMetric = kind(channels=["dapi", "actin"])
    found = metric(prediction, target)
    alone = [metric(prediction[k], target[k])[metric.name] for k in range(2)]
    assert found == {
        metric.name: pytest.approx(np.mean(alone)),
        f"{metric.name}/dapi": alone[0],
        f"{metric.name}/actin": alone[1],
    }
    assert f"{metric.name}/1" in kind()(prediction, target)


def test_flat_targets_have_no_range_and_perfect_predictions_no_error() -> None:
    flat = np.full((20, 20), 3.0)
    for kind in (PsnrMetric, SsimMetric, MsSsimMetric, PearsonMetric):
        assert math.isnan(kind()(flat + 1, flat)[kind.name])
    assert PsnrMetric(255)(flat, flat) == {"psnr": math.inf}
    assert SsimMetric(255)(flat, flat) == {"ssim": 1.0}


def test_wrong_shapes_and_ranges_are_told() -> None:
    with pytest.raises(ValueError, match="expected equal"):
        PsnrMetric()(np.zeros((2, 3)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"expected axes \(Z, Y, X\) or \(C, Z, Y, X\)"):
        PsnrMetric(spatial_dims=3)(np.zeros((3, 2)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="data range of 0"):
        SsimMetric(0)
    assert PsnrMetric([-1, 1]).data_range == 2.0


def test_metrics_of_torchmetrics_are_given_whole_images() -> None:
    noisy, clean = pair((40, 40))
    suite = MetricSuite(
        [PeakSignalNoiseRatio(data_range=1.0), StructuralSimilarityIndexMeasure(data_range=1.0)]
    )
    batch = [torch.as_tensor(image)[None, None].repeat(2, 2, 1, 1) for image in (noisy, clean)]
    row = suite.rows(*batch)[1]
    assert row["peak_signal_noise_ratio"] == pytest.approx(PsnrMetric(1.0)(noisy, clean)["psnr"])
    ssim = structural_similarity_index_measure(*(item[:1] for item in batch), data_range=1.0)
    assert row["structural_similarity_index_measure"] == pytest.approx(float(ssim))
    weight = torch.ones(2, 40, 40)
    weight[:, :, 20:] = 0
    half = suite.rows(*batch, weight)[0]["peak_signal_noise_ratio"]
    own = PsnrMetric(1.0)(noisy[:, :20], clean[:, :20])["psnr"]
    assert half == pytest.approx(own)


def test_the_catalogue_names_them() -> None:
    for kind in ALL:
        assert type(registry.build("metric", kind.name, {})) is kind
