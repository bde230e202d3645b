"""Every preset trains for two steps on drawn samples, is evaluated, and predicts.

The presets are run as they are but for their overrides here: fewer steps, and smaller nets and
patches where the full ones would be slow.
"""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest

import imtoolkit as imt
from imtoolkit.runs import Run

ROOT = Path(__file__).resolve().parents[2]
PRESETS = sorted((ROOT / "configs").rglob("*.yaml"))
COUNTS: Final = {"shapes": 25, "wells": 30}
"""Drawn images: every class in every split, and several plates; of other samples 8."""

TWO_STEPS: Final[dict[str, Any]] = {
    "trainer.max_epochs": 1,
    "trainer.limit_train_batches": 2,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.accelerator": "cpu",
    "trainer.limit_val_batches": 1,
    "evaluation.resamples": 50,
}
SEVERAL: Final = {"trainer.limit_val_batches": 1.0, "data.loader.batch_size": 4}
"""Metrics of classes need images of several."""

RESNET: Final = {"task.net.params.width": 4, **SEVERAL}
DRUNET: Final = {"task.net.params.channels": [4, 8], "data.loader.batch_size": 2}
FNET: Final = {"task.net.params.width": 2, "data.loader.batch_size": 2}
ERFNET: Final = {"task.net.params.channels": [4, 8, 8], "data.loader.batch_size": 2}
TRANSLATION: Final = {"task.nets.discriminator.params.channels": 4, **SEVERAL}
AGAINST: Final = {
    "task.nets.generator.params.width": 2,
    "task.nets.discriminator.params.channels": 4,
    "data.loader.batch_size": 2,
}
SMALL: Final[dict[str, dict[str, Any]]] = {
    "classification/images_2d": RESNET,
    "classification/images_3d": RESNET,
    "classification/findings_2d": RESNET,
    "classification/wells_2d": {
        "task.net.params.backbone.params.width": 4,
        **SEVERAL,
    },
    "regression/count_2d": RESNET,
    "enhancement/denoise_2d": DRUNET,
    "enhancement/restore_2d": DRUNET,
    "enhancement/restore_3d": DRUNET,
    "enhancement/super_resolution_2d": DRUNET,
    "enhancement/noise2noise_2d": DRUNET,
    "enhancement/label_free_2d": FNET,
    "enhancement/label_free_3d": FNET,
    "cyclegan/unpaired_2d": {
        "task.nets.generator.params.features": [2, 2, 4, 4, 4, 2],
        **TRANSLATION,
    },
    "cyclegan/unpaired_3d": {"task.nets.generator.params.channels": [4, 8, 8], **TRANSLATION},
    "embedseg/embedseg_2d": ERFNET,
    "embedseg/embedseg_3d": ERFNET,
    "probabilistic_unet/lesions_2d": {
        "task.net.params.channels": [4, 8],
        "data.loader.batch_size": 2,
    },
    "probabilistic_unet/lesions_3d": {
        "task.net.params.channels": [2, 4, 4],
        "data.loader.batch_size": 2,
    },
    "noise2void/denoise_2d": {
        "task.net.params.channels": [4, 8, 16],
        "data.loader.batch_size": 2,
    },
    "pix2pix/pix2pix_2d": AGAINST,
    "pix2pix/pix2pix_3d": AGAINST,
    "pix2pix/pix2pixhd_2d": {
        "task.nets.generator.params.channels": 2,
        "task.nets.generator.params.global_blocks": 1,
        "task.nets.discriminator.params.channels": 2,
    },
    "multitask/wells_2d": {
        "task.net.params.backbone.params.features": [4, 4, 4, 8, 8, 4],
        **SEVERAL,
    },
}
"""What makes a preset quick enough for a test: nets and batches, nothing else."""


def name_of(preset: Path) -> str:
    return preset.relative_to(ROOT / "configs").with_suffix("").as_posix()


def samples_of(preset: Path) -> tuple[str, str, int | None]:
    """Return what the preset's comment says to draw: name, folder, dimensions."""
    text = preset.read_text(encoding="utf-8")
    line = re.search(r"^#.*imtoolkit samples (\S+) (\S+)(.*)$", text, flags=re.MULTILINE)
    assert line is not None, f"{preset.name} does not say which samples it runs on"
    dims = re.search(r"--dims (\d)", line[3])
    return line[1], line[2], int(dims[1]) if dims else None


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS, ids=name_of)
def test_a_preset_trains_is_evaluated_and_predicts(
    preset: Path, workdir: Path, drawn: Callable[..., Path]
) -> None:
    name, folder, dims = samples_of(preset)
    drawing = drawn(name, count=COUNTS.get(name, 8), dims=dims)
    shutil.copytree(drawing, workdir / folder)
    config: Any = imt.load_config(preset, {**TWO_STEPS, **SMALL.get(name_of(preset), {})})

    run = imt.train(config, quiet=True)

    assert run.status.state.value == "finished"
    assert {"best", "last"} <= set(run.checkpoints)
    scores = imt.evaluate(run, split="test", quiet=True)
    rows = scores.per_image
    assert len(rows) == run.facts.samples["test"] > 0
    assert math.isfinite(scores.summary["metrics"]["loss"]["mean"])
    asked = config.task.category
    if getattr(config.task, "instances", None) is not None:
        asked = "instances"
    PREDICTS[asked](run, config.task, rows, inputs_of(config, workdir / folder))


def inputs_of(config: Any, folder: Path) -> Path:
    """Return what the preset predicts: its table, or the first of its images."""
    params = config.data.sources["main"].source.params
    if "path" in params:
        return folder / "table.csv"
    found = sorted(folder.glob(params.get("image", "a/*.tif" if "a" in params else "**/*.tif*")))
    return next(path for path in found or sorted(folder.rglob("*.nii.gz")) if path.is_file())


def segments(run: Run, task: Any, rows: pd.DataFrame, picture: Path) -> None:
    for label in task.classes[1:]:
        assert rows[f"dice/{label}"].dropna().between(0, 1).all()
    labels = imt.predict(run, imt.read(picture).pixels[0])
    assert labels.shape == imt.read(picture).pixels.shape[1:]
    assert set(np.unique(labels)) <= set(range(len(task.classes)))
    (written,) = imt.predict(run, [picture], output="predicted")
    assert np.array_equal(imt.read(written).pixels[0], labels)


def tells_objects_apart(run: Run, task: Any, rows: pd.DataFrame, picture: Path) -> None:
    assert rows["ap/50"].dropna().between(0, 1).all()
    objects = imt.predict(run, imt.read(picture).pixels[0])
    assert objects.shape == imt.read(picture).pixels.shape[1:]
    assert np.array_equal(np.unique(objects), np.arange(objects.max() + 1))
    (written,) = imt.predict(run, [picture], output="predicted")
    assert np.array_equal(imt.read(written).pixels[0], objects)


def classifies(run: Run, task: Any, rows: pd.DataFrame, given: Path) -> None:
    columns = [f"probability/{name}" for name in task.classes]
    assert rows[columns].to_numpy().min() >= 0
    table = table_of(run, given)
    if not task.multilabel:
        assert set(table["predicted"]) <= set(task.classes)
        np.testing.assert_allclose(table[columns].sum(axis=1), 1, atol=1e-4)


def tells_how_sure(run: Run, task: Any, rows: pd.DataFrame, given: Path) -> None:
    assert rows["ged"].between(0, 2).all()
    assert rows["sample_diversity/annotators"].dropna().between(0, 1).all()
    picture = next((given.parent / "images").glob("*.tif"))
    found = imt.predict(run, imt.read(picture).pixels[0], uncertainty=True)
    assert (found.method, found.count) == ("posterior", 16)
    assert 0 <= found.maps["entropy"].min() <= found.maps["entropy"].max() <= math.log(2) + 1e-6
    segments(run, task, rows, picture)


def counts(run: Run, task: Any, rows: pd.DataFrame, given: Path) -> None:
    table = table_of(run, given)
    assert np.isfinite(table["predicted"]).all()
    assert rows["target"].between(0, 100).all()


def enhances(run: Run, task: Any, rows: pd.DataFrame, picture: Path) -> None:
    assert rows["psnr"].between(-20, 80).all()
    image = imt.predict(run, imt.read(picture).pixels[0])
    assert image.shape == imt.read(picture).pixels.shape[1:]
    assert np.isfinite(image).all()
    (written,) = imt.predict(run, [picture], output="predicted")
    np.testing.assert_allclose(imt.read(written).pixels[0], image, atol=1e-5)


def translates(run: Run, task: Any, rows: pd.DataFrame, picture: Path) -> None:
    assert rows["cycle_psnr"].between(-20, 80).all()
    assert rows["psnr"].dropna().size == (rows["dataset"] == "pairs").sum() > 0
    grey = imt.read(picture).pixels
    made = imt.predict(run, grey)
    assert made.shape == (3, *grey.shape[1:])
    (back,) = imt.predict(run, [picture.parents[1] / "b"], output="back", direction="b_to_a")[:1]
    assert imt.read(back).pixels.shape == grey.shape


def does_several_things(run: Run, task: Any, rows: pd.DataFrame, given: Path) -> None:
    assert {"nuclei/dice", "treatment/predicted", "number/predicted"} <= set(rows.columns)
    *masks, table = imt.predict(run, given, output="predicted")
    assert len(masks) == len(pd.read_csv(given)) == len(pd.read_csv(table))
    assert set(np.unique(imt.read(masks[0]).pixels)) <= {0, 1}


def table_of(run: Run, given: Path) -> pd.DataFrame:
    """Predict and return the table that is written, one row for each image."""
    (written,) = imt.predict(run, [given], output="predicted")
    table = pd.read_csv(written)
    assert len(table) == (len(pd.read_csv(given)) if given.suffix == ".csv" else 1)
    return table


PREDICTS: Final[Mapping[str, Callable[[Run, Any, pd.DataFrame, Path], None]]] = {
    "segmentation": segments,
    "instances": tells_objects_apart,
    "classification": classifies,
    "regression": counts,
    "enhancement": enhances,
    "noise2void": enhances,
    "pix2pix": enhances,
    "probabilistic_unet": tells_how_sure,
    "multitask": does_several_things,
    "embedseg": tells_objects_apart,
    "cyclegan": translates,
}
"""What is asked of the predictions of each category."""
