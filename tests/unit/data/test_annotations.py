"""Several annotations of one image, from files to batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imtoolkit import io
from imtoolkit.config.sections import (
    Component,
    DataConfig,
    LoaderConfig,
    PatchConfig,
    SourceConfig,
    SplitConfig,
)
from imtoolkit.core.errors import DataError
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.data.cache.content import find_foreground
from imtoolkit.data.checks import check_labels
from imtoolkit.data.datamodule import ImageDataModule

READ = TargetSpec(TargetKind.LABELS, ("background", "lesion"), annotations=True)


def written(root: Path, count: int = 6) -> Path:
    """Write images whose second annotation is the first, without its left half."""
    lines = ["id,image,first,second"]
    for number in range(count):
        mask = np.zeros((12, 16), np.uint8)
        mask[3:9, 4:12] = 1
        less = mask.copy()
        less[:, :8] = 0
        made = {"image": (100 * mask + number).astype(np.uint8), "first": mask, "second": less}
        for name, pixels in made.items():
            io.write(root / f"{number}_{name}.tif", pixels, axes="YX")
        lines.append(f"n{number},{number}_image.tif,{number}_first.tif,{number}_second.tif")
    (root / "table.csv").write_text("\n".join(lines) + "\n")
    return root


def module_of(root: Path, spec: TargetSpec = READ) -> ImageDataModule:
    params = {"path": str(root / "table.csv"), "target": ["first", "second"]}
    config = DataConfig(
        sources={"main": SourceConfig(Component("csv", params))},
        axes="YX",
        split=SplitConfig(val=2),
        patch=PatchConfig([8, 8], per_image=2, foreground=1.0),
        augment=[Component("flips", {}), Component("random_affine", {"prob": 1.0})],
        loader=LoaderConfig(batch_size=4, workers=0),
    )
    return ImageDataModule(config, spec, seed=0, cache_root=root / "cache")


def test_a_batch_has_all_annotations_as_channels_on_one_grid(tmp_path: Path) -> None:
    module = module_of(written(tmp_path))
    module.prepare_data()
    assert module.facts.target_channels == 2
    assert module.facts.class_pixels == pytest.approx((1 - 72 / 384, 72 / 384))  # of both readers
    for batch in module.train_dataloader():
        target = batch["target"]
        assert target.shape[1:] == (2, 8, 8)
        assert not target.is_floating_point()
        # moved alike: nobody marks what the first reader does not
        assert bool((target[:, 1] <= target[:, 0]).all())
        assert bool((target[:, 0].flatten(1).sum(1) > 0).all())  # centred on somebody's mark
    (sample,) = module.samples("val", 1)
    assert sample["target"].shape == (1, 2, 12, 16)


def test_a_task_of_one_annotation_refuses_several(tmp_path: Path) -> None:
    module = module_of(written(tmp_path), TargetSpec(TargetKind.LABELS, READ.classes))
    with pytest.raises(DataError, match="target has 2 channels, expected one"):
        module.prepare_data()


def test_labels_of_every_annotation_are_checked() -> None:
    labels = np.zeros((2, 4, 4), np.uint8)
    assert check_labels(labels + 1, READ, where="a") == ([], [])
    labels[1, 0, 0] = 7
    problems, _ = check_labels(labels, READ, where="a")
    assert "expected 0 to 1" in problems[0].message


def test_a_pixel_is_foreground_where_any_reader_marks_it() -> None:
    target = np.zeros((2, 1, 6), np.uint8)
    target[0, 0, :2] = 1
    target[1, 0, 1:4] = 1
    counts, foreground = find_foreground(target, None, TargetKind.LABELS)
    assert counts == {0: 7, 1: 5}
    assert foreground[1].tolist() == [0, 1, 2, 3]
    weight = np.ones((1, 1, 6), np.float32)
    weight[..., 3] = 0
    counts, foreground = find_foreground(target, weight, TargetKind.LABELS)
    assert counts == {0: 6, 1: 4}
    assert foreground[1].tolist() == [0, 1, 2]
