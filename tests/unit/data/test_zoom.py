"""Patches at other magnifications: what is cut, how it is resampled, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imtoolkit.config.sections import Component, LoaderConfig, PatchConfig
from imtoolkit.core.batch import IMAGE, TARGET, WEIGHT
from imtoolkit.data.datamodule import ImageDataModule
from imtoolkit.data.zoom import drawn_zoom, size_to_cut, zoomed
from tests.helpers.images import NUCLEI, section, write_images


def test_magnifications_are_even_on_a_logarithmic_scale() -> None:
    drawn = [drawn_zoom([0.5, 2.0], draw) for draw in np.linspace(0, 1, 1001)]
    assert min(drawn) == pytest.approx(0.5)
    assert max(drawn) == pytest.approx(2.0)
    assert sum(value < 1 for value in drawn) == 500


@pytest.mark.parametrize(
    ("size", "shape", "zoom", "cut"),
    [
        ((64, 64), (300, 300), 2.0, (32, 32)),
        ((64, 64), (300, 300), 0.5, (128, 128)),
        ((64, 96), (300, 300), 0.5, (128, 192)),
        ((64, 64), (300, 80), 0.5, (80, 80)),  # no more than there is, and the same for Y and X
        ((64, 64), (40, 300), 0.5, (64, 64)),  # smaller than the patch: padded, and not shrunk
        ((64, 64), (40, 300), 2.0, (32, 32)),
        ((8, 64, 64), (9, 300, 300), 0.5, (8, 128, 128)),  # Z stays
    ],
)
def test_what_is_cut_follows_from_the_magnification(
    size: tuple[int, ...], shape: tuple[int, ...], zoom: float, cut: tuple[int, ...]
) -> None:
    assert size_to_cut(size, shape, zoom) == cut


@pytest.mark.parametrize("new", [(20, 30), (7, 12), (40, 90)])
def test_images_are_resampled_linearly_and_labels_by_the_nearest_pixel(
    new: tuple[int, int],
) -> None:
    rows, columns = np.mgrid[:20, :30].astype(np.float32)
    grids = {
        IMAGE: np.stack([rows, columns]),
        TARGET: (10 * (rows // 10) + columns // 15)[None].astype(np.uint16),
        WEIGHT: (rows[None] >= 10).astype(np.float32),
    }
    out = zoomed(grids, new)
    assert {key: (array.shape[1:], array.dtype) for key, array in out.items()} == {
        key: (new, grids[key].dtype) for key in grids
    }
    for channel, (old, side) in enumerate(zip((20, 30), new, strict=True)):
        # a plane stays a plane: pixel i of the new one lies at (i + 0.5) * old / new - 0.5
        expected = (np.arange(side) + 0.5) * old / side - 0.5
        line = out[IMAGE][channel].mean(axis=1 - channel)
        inner = slice(side // 6 + 1, -side // 6 - 1)
        assert line[inner] == pytest.approx(expected[inner], abs=0.02)
    assert set(np.unique(out[TARGET])) == {0, 1, 10, 11}
    assert (out[TARGET][0, : new[0] // 2 - 1] < 2).all()
    assert set(np.unique(out[WEIGHT])) == {0.0, 1.0}


def test_stacks_are_zoomed_plane_by_plane() -> None:
    image = np.broadcast_to(np.arange(5.0, dtype=np.float32)[:, None, None], (1, 5, 8, 8))
    out = zoomed({IMAGE: image}, (5, 16, 16))[IMAGE]
    assert out.shape == (1, 5, 16, 16)
    assert (out[0] == np.arange(5)[:, None, None]).all()


def patches(root: Path, patch: PatchConfig, epochs: int = 1) -> list[np.ndarray]:
    config = section(
        root,
        patch=patch,
        augment=[Component("flips")],
        loader=LoaderConfig(batch_size=3, workers=0),
    )
    data = ImageDataModule(config, target=NUCLEI)
    data.setup("fit")
    loader = data.train_dataloader()
    return [batch[IMAGE].numpy() for _ in range(epochs) for batch in loader]


def test_a_patch_is_a_function_of_seed_and_visit_at_any_zoom(tmp_path: Path) -> None:
    write_images(tmp_path)
    config = PatchConfig(size=[16, 16], per_image=2, zoom=[0.5, 2.0])
    first, again = (patches(tmp_path, config, epochs=2) for _ in range(2))
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert {batch.shape[1:] for batch in first} == {(1, 16, 16)}
    assert not np.array_equal(first[0], first[4])  # the next epoch shows others


def test_the_fraction_of_zoomed_patches_is_that_asked_for(tmp_path: Path) -> None:
    write_images(tmp_path, shape=(64, 64))

    def smooth(prob: float) -> float:
        config = PatchConfig(size=[16, 16], per_image=20, zoom=[4.0, 4.0], zoom_prob=prob)
        images = np.concatenate(patches(tmp_path, config))
        rough = np.abs(np.diff(images, axis=-1)).mean(axis=(1, 2, 3))
        return float(rough.mean())

    never, half, always = smooth(0.0), smooth(0.5), smooth(1.0)
    assert always < half < never
    plain = np.concatenate(patches(tmp_path, PatchConfig(size=[16, 16], per_image=20)))
    assert np.abs(np.diff(plain, axis=-1)).mean() == pytest.approx(never, rel=0.2)
