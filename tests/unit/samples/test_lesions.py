"""Drawn lesions: readers differ where an outline is blurred or a lesion faint, and only there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from imtoolkit import io
from imtoolkit.config.sections import SplitConfig
from imtoolkit.data.sources.csv import CsvSource
from imtoolkit.data.splits import draw_splits
from imtoolkit.samples import draw, draw_one
from imtoolkit.samples.lesions import READERS, draw_lesions


@pytest.mark.parametrize("dims", [2, 3])
def test_strict_readers_mark_less_than_generous_ones(dims: int) -> None:
    for index in range(8):
        drawn = draw_one("lesions", index, dims=dims)
        marks = [drawn.more[f"annotator_{k}"] for k in range(len(READERS))]
        assert all(
            mark.shape == drawn.image.shape and set(np.unique(mark)) <= {0, 1} for mark in marks
        )
        sizes = [int(mark.sum()) for mark in marks]
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[0] > 0  # the most generous reader sees every lesion
        assert np.array_equal(drawn.target, marks[0])


def test_readers_differ_where_the_contrast_fades_and_nowhere_else() -> None:
    for index in range(12):
        drawn = draw_one("lesions", index)
        marks = np.stack([drawn.more[f"annotator_{k}"] for k in range(len(READERS))])
        lesion, unsure = drawn.more["lesion"], marks.min(0) != marks.max(0)
        assert not unsure[lesion < 0.05].any()
        if drawn.facts["faint"] == 0:  # nobody misses a lesion: all mark its core
            assert marks[:, lesion > 0.95].all()


def test_some_lesions_are_sharp_and_some_are_not() -> None:
    shares = []
    for index in range(30):
        drawn = draw_one("lesions", index)
        if drawn.facts["faint"] == 0:
            marks = [drawn.more[f"annotator_{k}"] for k in range(len(READERS))]
            shares.append(marks[-1].sum() / marks[0].sum())
    assert max(shares) > 0.75
    assert min(shares) < 0.5


def test_as_many_lesions_are_drawn_as_asked() -> None:
    drawn = draw_lesions(np.random.default_rng(0), (96, 96), count=2)
    assert drawn.facts["lesions"] == 2
    empty = draw_lesions(np.random.default_rng(0), (96, 96), count=0)
    assert not any(empty.more[f"annotator_{k}"].any() for k in range(len(READERS)))


def test_tables_have_a_row_for_each_annotation_and_one_for_each_image(tmp_path: Path) -> None:
    folder = draw("lesions", tmp_path / "lesions", count=5)
    marks, images = (pd.read_csv(folder / name) for name in ("table.csv", "images.csv"))
    assert len(marks) == 5 * len(READERS)
    assert marks["group"].nunique() == len(images) == 5
    for row in images.to_dict("records"):
        drawn = draw_one("lesions", int(row["id"][-4:]))
        assert np.array_equal(io.read(folder / row["image"]).pixels[0], drawn.image)
        mark = io.read(folder / row["annotator_2"]).pixels[0]
        assert np.array_equal(mark, drawn.more["annotator_2"])
        assert row["lesions"] == drawn.facts["lesions"]


def test_splits_of_annotations_part_no_image(tmp_path: Path) -> None:
    folder = draw("lesions", tmp_path / "lesions", count=10)
    manifest = CsvSource(str(folder / "table.csv")).samples()
    named = manifest.with_column("dataset", pa.array(["main"] * len(manifest)))
    split = draw_splits(named, SplitConfig(val=0.3, test=0.2), 0)
    parts = pd.DataFrame({"image": split.column("image"), "split": split.column("split")})
    assert (parts.groupby("image")["split"].nunique() == 1).all()
    assert set(parts["split"]) == {"train", "val", "test"}
