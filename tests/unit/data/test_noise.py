"""Noise, blur, lost resolution and bending: closed forms, independent references, identities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from imtoolkit.core import registry
from imtoolkit.core.errors import ComponentError
from imtoolkit.data.transforms.build import share_random_state

PLANE, STACK = (1, 256, 256), (2, 24, 48, 48)


def built(name: str, seed: int = 0, **params: Any) -> Any:
    step = registry.build("transform", name, params)
    share_random_state([step], np.random.RandomState(seed))
    return step


def of(step: Any, image: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = step({"image": image})["image"]
    return out


@pytest.mark.parametrize("shape", [PLANE, STACK])
def test_white_noise_is_normal_and_independent_and_not_clipped(shape: tuple[int, ...]) -> None:
    noise = of(built("white_noise", std=0.5), torch.zeros(shape)).double()
    assert float(noise.std()) == pytest.approx(0.5, rel=0.02)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.01)
    assert stats.kstest(noise.flatten()[:5000] / 0.5, "norm").pvalue > 1e-3
    for axis in range(1, noise.ndim):
        near = noise.narrow(axis, 1, shape[axis] - 1) * noise.narrow(axis, 0, shape[axis] - 1)
        assert float(near.mean()) / 0.25 == pytest.approx(0.0, abs=0.02)
    assert float(noise.min()) < -1  # beyond the range of any image that is not negative
    if shape[0] > 1:
        assert float((noise[0] * noise[1]).mean()) == pytest.approx(0.0, abs=0.01)


def test_a_range_of_strengths_is_drawn_evenly() -> None:
    step = built("white_noise", std=[0.1, 0.5])
    found = [float(of(step, torch.zeros(1, 64, 64)).std()) for _ in range(300)]
    assert stats.kstest(found, stats.uniform(0.1, 0.4).cdf).pvalue > 1e-3


@pytest.mark.parametrize("sigma", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("shape", [PLANE, STACK])
def test_correlated_noise_has_its_deviation_and_its_correlation(
    shape: tuple[int, ...], sigma: float
) -> None:
    step = built("correlated_noise", std=0.2, sigma=sigma)
    fields = torch.stack([of(step, torch.zeros(shape)) for _ in range(12)]).double()
    assert float(fields.pow(2).mean()) == pytest.approx(0.04, rel=0.12)
    edge = fields[..., 0]  # as strong at the border as inside
    assert float(edge.pow(2).mean()) == pytest.approx(0.04, rel=0.15)
    # the autocorrelation of a filtered white field is that of the filter's weights
    weights = ndimage.gaussian_filter1d(np.eye(1, 65, 32)[0], sigma) if sigma else np.eye(1, 65)[0]
    wanted = (weights[1:] * weights[:-1]).sum() / (weights**2).sum()
    for axis in range(2, fields.ndim):
        side = fields.shape[axis]
        product = fields.narrow(axis, 1, side - 1) * fields.narrow(axis, 0, side - 1)
        assert float(product.mean()) / 0.04 == pytest.approx(wanted, abs=0.12)


def test_correlated_noise_of_two_axes_leaves_planes_independent() -> None:
    step = built("correlated_noise", std=1.0, sigma=2.0, axes=["Y", "X"])
    noise = of(step, torch.zeros(1, 40, 64, 64))[0].double()
    assert float((noise[1:] * noise[:-1]).mean()) == pytest.approx(0.0, abs=0.1)
    assert float((noise[:, 1:] * noise[:, :-1]).mean()) > 0.8


@pytest.mark.parametrize("level", [0.02, 0.3, 1.0, 4.0])
def test_poisson_noise_keeps_the_mean_and_has_its_variance(level: float) -> None:
    full, photons = 2.0, 30.0
    out = of(built("poisson_noise", photons=photons, full=full), torch.full(PLANE, level)).double()
    variance = level * full / photons
    assert float(out.mean()) == pytest.approx(level, abs=5 * (variance / out.numel()) ** 0.5)
    assert float(out.var()) == pytest.approx(variance, rel=0.04)
    counts = out * photons / full
    torch.testing.assert_close(counts, counts.round(), atol=1e-4, rtol=0)


def test_poisson_noise_leaves_what_has_no_photons() -> None:
    image = torch.tensor([[[-3.0, -0.5, 0.0]]])
    assert torch.equal(of(built("poisson_noise", photons=5), image), image)


def test_photons_are_drawn_evenly_in_the_logarithm() -> None:
    step = built("poisson_noise", photons=[10, 1000])
    found = [step.draw((1, 8, 8)).value for _ in range(500)]
    assert stats.kstest(np.log10(found), stats.uniform(1, 2).cdf).pvalue > 1e-3


def test_salt_and_pepper_replace_their_fractions() -> None:
    image = torch.full(PLANE, 0.5)
    out = of(built("salt_and_pepper", fraction=0.3, salt=0.25, low=-1.0, high=2.0), image)
    count = out.numel()
    assert int((out == 2).sum()) / count == pytest.approx(0.3 * 0.25, rel=0.1)
    assert int((out == -1).sum()) / count == pytest.approx(0.3 * 0.75, rel=0.1)
    assert int((out == 0.5).sum()) / count == pytest.approx(0.7, rel=0.02)
    ramp = torch.linspace(3, 7, count).reshape(PLANE)
    everything = of(built("salt_and_pepper", fraction=1.0, salt=0.5), ramp)
    assert set(everything.unique().tolist()) == {3.0, 7.0}


@pytest.mark.parametrize("sigma", [0.4, 1.3])
@pytest.mark.parametrize("shape", [(2, 30, 41), (1, 7, 20, 9)])
def test_blur_is_that_of_scipy(shape: tuple[int, ...], sigma: float) -> None:
    image = torch.rand(shape)
    out = of(built("random_blur", sigma=sigma, prob=1.0), image)
    wanted = np.stack([ndimage.gaussian_filter(one, sigma, mode="nearest") for one in image])
    np.testing.assert_allclose(out, wanted, atol=1e-5)


def test_blur_of_named_axes_leaves_the_others() -> None:
    image = torch.rand(1, 9, 12, 12)
    out = of(built("random_blur", sigma=2.0, axes=["Z"], prob=1.0), image)
    wanted = ndimage.gaussian_filter1d(image[0], 2.0, axis=0, mode="nearest")
    np.testing.assert_allclose(out[0], wanted, atol=1e-5)


def test_blur_keeps_the_mass_of_a_point_far_from_the_border() -> None:
    image = torch.zeros(1, 41, 41)
    image[0, 20, 20] = 3.0
    out = of(built("random_blur", sigma=2.0, prob=1.0), image)
    assert float(out.sum()) == pytest.approx(3.0, abs=1e-4)
    rows, columns = np.mgrid[:41, :41] - 20
    spread = float((out[0].double() * torch.as_tensor(rows**2 + columns**2)).sum()) / 3
    assert spread == pytest.approx(2 * 2.0**2, rel=0.02)


def test_half_the_resolution_is_the_means_of_blocks_interpolated() -> None:
    image = torch.rand(2, 8, 12)
    out = of(built("reduce_resolution", factor=2), image)
    blocks = image.reshape(2, 4, 2, 6, 2).mean((2, 4))
    wanted = np.stack(
        [
            ndimage.map_coordinates(
                one, np.meshgrid(*[(np.arange(n) + 0.5) / 2 - 0.5 for n in (8, 12)], indexing="ij"),
                order=1, mode="nearest",
            )
            for one in blocks
        ]
    )  # fmt: skip
    np.testing.assert_allclose(out, wanted, atol=1e-5)


def test_thick_slices_stay_sharp_in_their_plane() -> None:
    image = torch.rand(1, 8, 10, 10)
    out = of(built("reduce_resolution", factor=4, axes=["Z"]), image)
    means = image.reshape(1, 2, 4, 10, 10).mean(2)
    torch.testing.assert_close(out[:, 0], means[:, 0])
    torch.testing.assert_close(out[:, -1], means[:, -1])
    picked = of(built("reduce_resolution", factor=8, axes=["Z"], sampling="nearest"), image)
    assert torch.equal(picked, image[:, 4:5].expand_as(image))


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("white_noise", {"std": 0}),
        ("correlated_noise", {"std": 0, "sigma": 2}),
        ("salt_and_pepper", {"fraction": 0}),
        ("random_blur", {"sigma": 0, "prob": 1.0}),
        ("reduce_resolution", {"factor": 1}),
        ("random_elastic", {"amplitude": 0, "prob": 1.0}),
        ("white_noise", {"std": 5, "prob": 0.0}),
    ],
)
@pytest.mark.parametrize("shape", [(2, 20, 30), (1, 6, 12, 14)])
def test_no_strength_changes_nothing(
    name: str, params: dict[str, Any], shape: tuple[int, ...]
) -> None:
    image = torch.rand(shape)
    torch.testing.assert_close(of(built(name, **params), image), image, atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("white_noise", {"std": 0.1}),
        ("correlated_noise", {"std": 0.1}),
        ("poisson_noise", {}),
        ("salt_and_pepper", {"fraction": 0.2}),
        ("random_blur", {"sigma": 1.0, "prob": 1.0}),
        ("reduce_resolution", {"factor": 2.5}),
    ],
)
def test_noise_changes_the_image_alone_by_the_seed_alone(name: str, params: dict[str, Any]) -> None:
    image, target = torch.rand(2, 6, 16, 16), torch.rand(1, 6, 16, 16)
    data = {"image": image.clone(), "target": target, "weight": target.clone()}
    first, again = (built(name, seed=3, **params)(data) for _ in range(2))
    assert torch.equal(first["image"], again["image"])
    assert not torch.equal(first["image"], image)
    assert torch.equal(data["image"], image)  # the image that was given stays as it was
    assert first["target"] is target
    if name not in {"random_blur", "reduce_resolution"}:
        assert not torch.equal(first["image"], built(name, seed=4, **params)(data)["image"])


@pytest.mark.parametrize("shape", [(1, 60, 70), (1, 12, 40, 44)])
def test_bending_moves_image_target_and_weight_alike(shape: tuple[int, ...]) -> None:
    grid = torch.stack(
        torch.meshgrid(*[torch.arange(float(side)) for side in shape[1:]], indexing="ij")
    )
    step = built("random_elastic", amplitude=6, spacing=24, prob=1.0, padding="border")
    labels = (grid[-1:] * 3).to(torch.int32)
    out = step({"image": grid, "target": labels, "weight": grid[-1:]})
    shift = out["image"] - grid
    assert float(shift.abs().max()) <= 6 + 1e-3
    assert float(shift[-2:].abs().mean()) > 0.3
    if len(shape) == 4:
        torch.testing.assert_close(out["image"][0], grid[0], atol=1e-4, rtol=0)  # Z stays
    inner = (..., slice(8, -8), slice(8, -8))
    assert float((out["target"][inner] / 3 - out["image"][-1:][inner]).abs().max()) < 0.51
    assert torch.equal(out["weight"] * 3, out["target"].float())  # whole pixels, as labels
    # nothing folds: neighbours keep their order
    assert bool((out["image"][-1][inner].diff(dim=-1) > 0).all())
    assert bool((out["image"][-2][inner].diff(dim=-2) > 0).all())


def test_a_bent_image_is_smooth_and_its_axes_can_be_chosen() -> None:
    grid = torch.stack(torch.meshgrid(*[torch.arange(48.0)] * 3, indexing="ij"))
    step = built("random_elastic", amplitude=8, spacing=20, axes=["Z"], prob=1.0, padding="border")
    shift = step({"image": grid})["image"] - grid
    assert float(shift[1:].abs().max()) < 1e-4
    inner = shift[0, 10:-10, 10:-10, 10:-10]
    assert 0.5 < float(inner.abs().max()) <= 8
    # a cubic spline's second difference is at most 4 x amplitude / spacing**2
    assert float(inner.diff(n=2, dim=-1).abs().max()) < 4 * 8 / 20**2 + 1e-3


def test_a_stack_that_is_tilted_by_90_degrees_is_turned_over() -> None:
    cube = torch.rand(1, 9, 9, 9)
    step = built("random_affine", degrees=0, scale=0, tilt=90, prob=1.0)

    class Fixed:
        """Draws the largest tilt about X."""

        def uniform(self, low: float, high: float, size: int) -> np.ndarray:
            return np.array([high if size == 2 and not place else 0.0 for place in range(size)])

    step.R = Fixed()
    out = of(step, cube)
    wanted = [torch.rot90(cube, turns, (1, 2)) for turns in (1, 3)]
    assert any(torch.allclose(out, one, atol=1e-4) for one in wanted)


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("white_noise", {"std": -0.1}, r"std=-0.1; expected a number.*at least 0"),
        ("white_noise", {"std": [0.3, 0.1]}, r"smallest, largest"),
        ("white_noise", {"std": [0.1, 0.2, 0.3]}, r"smallest, largest"),
        ("correlated_noise", {"sigma": -1}, "sigma"),
        ("correlated_noise", {"axes": ["T"]}, "expected Z, Y or X"),
        ("poisson_noise", {"photons": 0}, "above 0"),
        ("poisson_noise", {"full": -1.0}, "above 0"),
        ("salt_and_pepper", {"fraction": 1.5}, "at most 1"),
        ("salt_and_pepper", {"salt": 2.0}, "between 0 and 1"),
        ("random_blur", {"sigma": float("inf")}, "sigma"),
        ("reduce_resolution", {"factor": 0.5}, "at least 1"),
        ("reduce_resolution", {"sampling": "cubic"}, "'mean' or 'nearest'"),
        ("random_elastic", {"amplitude": 20, "spacing": 30}, r"at most spacing / 2.48, here 12.1"),
        ("random_elastic", {"padding": "wrap"}, "reflection"),
        ("random_affine", {"tilt": -3}, "tilt=-3"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    name: str, params: dict[str, Any], words: str
) -> None:
    with pytest.raises(ComponentError, match=words):
        registry.build("transform", name, params)
