"""Clustering of embeddings beside a plain one that looks at the whole image for each object."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from imtoolkit.inference.postprocess.embedseg import ClusterEmbeddings, cluster_embeddings
from imtoolkit.labels.stitching import stitch

Array = NDArray[Any]
Maps = tuple[Array, Array, Array]


def plain(
    offsets: Array,
    scales: Array,
    seeds: Array,
    seed_threshold: float = 0.7,
    foreground_threshold: float = 0.5,
    min_pixels: int = 16,
    min_unclustered: float = 0.5,
    membership: float = 0.5,
) -> Array:
    """Take one object after the other, each from all pixels."""
    places = np.stack(np.meshgrid(*map(np.arange, seeds.shape), indexing="ij"))
    points = places + offsets.astype(np.float64)
    sigma = np.broadcast_to(scales.astype(np.float64), points.shape)
    foreground = seeds >= foreground_threshold
    free = foreground.copy()
    labels = np.zeros(seeds.shape, np.int32)
    while True:
        certain = np.where(free, seeds, -np.inf)
        best = np.unravel_index(certain.argmax(), seeds.shape)
        if certain[best] < seed_threshold:
            return labels
        index = (slice(None), *best)
        column = (-1,) + (1,) * seeds.ndim
        away = (points - points[index].reshape(column)) ** 2
        value = np.exp(-(away / (2 * sigma[index].reshape(column) ** 2)).sum(0))
        members = foreground & (value > membership)
        new = members & free
        if new.sum() >= min_pixels and new.sum() >= min_unclustered * members.sum():
            labels[new] = labels.max() + 1
        free[members] = False


def random_maps(shape: tuple[int, ...], n_sigma: int, seed: int, spread: float = 2.0) -> Maps:
    generator = np.random.default_rng(seed)
    dims = len(shape)
    offsets = spread * generator.normal(size=(dims, *shape)).astype(np.float32)
    scales = np.exp(generator.normal(size=(n_sigma, *shape))).astype(np.float32)
    seeds = generator.random(shape).astype(np.float32).round(2)  # with many ties
    return offsets, scales, seeds


def drawn_maps(
    shape: tuple[int, ...], count: int, radius: float, seed: int = 0, noise: float = 0.4
) -> tuple[Maps, Array]:
    """Return what a good net says of discs (balls), and the discs."""
    generator = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).astype(np.float32)
    labels = np.zeros(shape, np.int32)
    offsets = np.zeros_like(places)
    seeds = np.zeros(shape, np.float32)
    for number in range(1, count + 1):
        centre = generator.uniform(0, shape).reshape(-1, *[1] * len(shape))
        square = ((places - centre) ** 2).sum(0) / radius**2
        mask = (square < 1) & (labels == 0)
        labels[mask] = number
        offsets[:, mask] = (centre - places)[:, mask]
        seeds[mask] = 0.95 - 0.2 * square[mask]
    offsets += noise * generator.normal(size=offsets.shape)
    seeds = (seeds + 0.02 * generator.normal(size=shape)).clip(0, 1)
    scales = np.full((1, *shape), radius / 2)
    return (offsets.astype(np.float32), scales.astype(np.float32), seeds.astype(np.float32)), labels


@pytest.mark.parametrize("shape", [(40, 33), (1, 50), (7, 12, 15)])
@pytest.mark.parametrize("n_sigma", [1, 0])
@pytest.mark.parametrize("seed", range(4))
def test_it_equals_the_plain_one_on_random_maps(
    shape: tuple[int, ...], n_sigma: int, seed: int
) -> None:
    maps = random_maps(shape, n_sigma or len(shape), seed)
    options = [
        {"min_pixels": 3},
        {"min_pixels": 1, "min_unclustered": 0.0, "seed_threshold": 0.3},
        {"foreground_threshold": 0.1, "min_unclustered": 0.9, "min_pixels": 1},
        {"membership": 0.1, "seed_threshold": 0.5, "min_pixels": 2},
    ][seed]
    found = cluster_embeddings(*maps, **options)
    assert found.max() > 0
    assert np.array_equal(found, plain(*maps, **options))


@pytest.mark.parametrize(
    ("shape", "count", "radius"), [((90, 80), 25, 6.0), ((16, 40, 36), 15, 4.0)]
)
def test_it_equals_the_plain_one_on_drawn_objects(
    shape: tuple[int, ...], count: int, radius: float
) -> None:
    maps, labels = drawn_maps(shape, count, radius)
    found = cluster_embeddings(*maps)
    assert np.array_equal(found, plain(*maps))
    assert found.max() >= 0.8 * len(np.unique(labels)) - 1


def test_objects_come_out_as_they_were_drawn() -> None:
    places = np.stack(np.meshgrid(np.arange(40), np.arange(40), indexing="ij"))
    labels = np.zeros((40, 40), int)
    labels[3:12, 3:20], labels[12:30, 3:12], labels[30:38, 25:38] = 1, 2, 3  # two of them touch
    offsets, seeds = np.zeros((2, 40, 40)), np.zeros((40, 40))
    for number in (1, 2, 3):
        mask = labels == number
        centre = places[:, mask].mean(1)
        offsets[:, mask] = centre[:, None] - places[:, mask]
        seeds[mask] = 1 - 0.001 * number
    found = cluster_embeddings(offsets, np.full((1, 40, 40), 2.0), seeds)
    assert np.array_equal(found, labels)


def test_large_scales_points_outside_and_what_is_not_finite() -> None:
    offsets, scales, seeds = random_maps((30, 30), 1, 0)
    offsets[:, 3, :] = 1e9
    scales[0, 5, :] = 1e30
    scales[0, 6, :] = 0.0
    assert np.array_equal(
        cluster_embeddings(offsets, scales, seeds, min_pixels=1),
        plain(offsets, scales.clip(1e-6), seeds, min_pixels=1),
    )
    offsets[0, 9, :] = np.nan
    seeds[10, :] = np.nan
    found = cluster_embeddings(offsets, scales, seeds, min_pixels=1)
    assert not found[9:11].any()


def test_nothing_where_no_pixel_is_certain() -> None:
    maps = random_maps((20, 20), 2, 0)
    assert not cluster_embeddings(maps[0], maps[1], np.zeros((20, 20))).any()
    assert not cluster_embeddings(*maps, seed_threshold=1.1).any()
    assert cluster_embeddings(np.zeros((2, 0, 4)), np.zeros((1, 0, 4)), np.zeros((0, 4))).size == 0


def test_it_is_the_same_each_time_and_takes_seeds_with_a_channel() -> None:
    offsets, scales, seeds = random_maps((40, 40), 2, 3)
    first = cluster_embeddings(offsets, scales, seeds)
    assert np.array_equal(first, cluster_embeddings(offsets, scales, seeds[None]))
    assert first.dtype == np.int32


@pytest.mark.parametrize(
    ("shape", "block", "overlap"), [((200, 180), 80, 30), ((24, 70, 64), 40, 16)]
)
def test_block_by_block_gives_the_objects_of_the_whole(
    shape: tuple[int, ...], block: int, overlap: int
) -> None:
    maps, _ = drawn_maps(shape, 60, 6.0 if len(shape) == 2 else 4.0)
    whole = cluster_embeddings(*maps)

    def of(box: tuple[slice, ...]) -> Array:
        offsets, scales, seeds = (part[(..., *box)] for part in maps)
        return cluster_embeddings(offsets, scales, seeds)

    found = stitch(of, shape, block=(block,) * len(shape), overlap=overlap)
    pairs = np.unique(np.stack((whole.ravel(), found.labels.ravel())), axis=1)
    assert pairs.shape[1] == whole.max() + 1 == found.count + 1  # one to one


def test_the_step_reads_the_maps_of_an_embedding() -> None:
    maps, _ = drawn_maps((60, 60), 8, 6.0)
    named = dict(zip(("offsets", "scales", "seeds"), maps, strict=True))
    step = ClusterEmbeddings(min_pixels=5, seed_threshold=0.8)
    assert np.array_equal(step.apply(named, None), plain(*maps, min_pixels=5, seed_threshold=0.8))
    known = set(ClusterEmbeddings.tunable)
    assert known <= set(step.thresholds)
    with pytest.raises(ValueError, match="expected fractions"):
        ClusterEmbeddings(membership=1.0)


def test_maps_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(2, 4, 4\), \(1, 4, 4\) or \(2, 4, 4\)"):
        cluster_embeddings(np.zeros((3, 4, 4)), np.zeros((1, 4, 4)), np.zeros((4, 4)))
