"""Tiles cover an image, and blending them is invisible."""

import numpy as np
import pytest

from imtoolkit.inference.tiles import gaussian_weight, plan_tiles


def _cover(shape: tuple[int, ...], tile: tuple[int, ...], overlap: float) -> np.ndarray:
    count = np.zeros(shape, int)
    for part in plan_tiles(shape, tile, overlap):
        assert tuple(axis.stop - axis.start for axis in part) == tile
        count[part] += 1
    return count


def test_tiles_cover_every_pixel_once_when_overlap_is_zero() -> None:
    assert (_cover((64, 96), (32, 32), 0.0) == 1).all()


@pytest.mark.parametrize("seed", range(30))
def test_tiles_of_any_size_and_overlap_cover_every_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dims = int(rng.integers(1, 4))
    tile = tuple(int(side) for side in rng.integers(1, 12, dims))
    shape = tuple(
        int(side + extra) for side, extra in zip(tile, rng.integers(0, 20, dims), strict=False)
    )
    assert (_cover(shape, tile, overlap=float(rng.uniform(0, 0.95))) >= 1).all()


def test_neighbours_share_at_least_the_overlap() -> None:
    starts = [part[0].start for part in plan_tiles((101,), (16,), 0.5)]
    assert max(np.diff(starts)) <= 8


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="pad the image first"):
        plan_tiles((8,), (16,), 0.0)
    with pytest.raises(ValueError, match="a tile of 1 axes for an image of 2"):
        plan_tiles((8, 8), (4,), 0.0)
    with pytest.raises(ValueError, match="expected a fraction from 0 to below 1"):
        plan_tiles((8,), (4,), 1.0)


def test_the_gaussian_is_symmetric_largest_in_the_middle_and_nowhere_zero() -> None:
    weight = gaussian_weight((8, 9))
    assert weight.shape == (8, 9)
    assert weight.min() > 0
    assert weight.max() == weight[3, 4] == 1
    np.testing.assert_allclose(weight.numpy(), weight.flip(0, 1).numpy())
