"""The Python API and the verbs evaluate, predict and runs on one small trained run."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch

import imtoolkit as imt
from imtoolkit import io
from imtoolkit.cli.main import main
from imtoolkit.core.errors import ConfigError, DataError, RunError
from imtoolkit.runs import Run, State

CONFIG = {
    "name": "squares",
    "data": {
        "source": {"name": "folder", "params": {"image": "*_IM.tif", "target": "*_GT.tif"}},
        "axes": "YX",
        "split": {"val": 2, "test": 3},
        "patch": {"size": [16, 16], "per_image": 4},
        "preprocess": ["normalize_zscore", {"name": "pad_to_multiple", "params": {"multiple": 8}}],
        "augment": ["flips"],
        "loader": {"batch_size": 4, "workers": 0},
    },
    "task": {
        "category": "segmentation",
        "classes": ["background", "cell"],
        "net": {"name": "UNet", "params": {"channels": [8, 16], "strides": [2]}},
        "optimizer": {"name": "AdamW", "params": {"lr": 0.02}},
    },
    "trainer": {"max_epochs": 8, "accelerator": "cpu", "pictures": {"every_epochs": 4}},
}


def square(number: int, size: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(number)
    labels = np.zeros((size, size), np.uint8)
    y, x = rng.integers(2, size - 14, 2)
    labels[y : y + 11, x : x + 11] = 1
    return (rng.normal(100, 15, labels.shape) + 90 * labels).astype(np.uint16), labels


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verbs") / "images"
    for number in range(11):
        image, labels = square(number)
        size = {"spacing": (0.5, 0.25), "unit": "micrometer"}
        io.write(folder / f"{number:02d}_IM.tif", image, **size)
        io.write(folder / f"{number:02d}_GT.tif", labels, **size)
    return folder


def load(images: Path, **overrides: object) -> imt.Config:
    raw = json.loads(json.dumps(CONFIG))
    raw["data"]["source"]["params"]["root"] = str(images)
    return imt.load_config(raw, overrides)


@pytest.fixture(scope="module")
def run(images: Path) -> Run:
    return imt.train(load(images), path=images.parent / "run", quiet=True)


@pytest.fixture
def fresh(run: Run, tmp_path: Path) -> Run:
    """Return a copy of the run that a test may change."""
    return Run(shutil.copytree(run.path, tmp_path / "run"))


def test_a_trained_run_is_complete(run):
    assert run.status.state is State.FINISHED
    assert {path.name for path in run.path.iterdir()} == {
        "config.yaml",
        "resolved.json",
        "provenance.json",
        "splits.csv",
        "metrics.csv",
        "checkpoints",
        "log.txt",
        "evaluation",
        "pictures",
        "status.json",
    }
    assert run.facts.samples == {"train": 6, "val": 2, "test": 3}
    assert run.metrics["val/dice"].iloc[-1] > 0.7
    assert [path.name for path in run.pictures] == ["epoch-0004.png", "epoch-0008.png"]
    assert run.config == imt.load_config(run.path / "config.yaml")
    assert run.provenance["data_fingerprint"] == run.facts.fingerprint
    assert "<table>" in run._repr_html_()
    assert "data:image/png" in run._repr_html_()


def test_training_evaluated_the_test_images_with_intervals(run):
    summary = run.evaluations["test"]
    dice = summary["metrics"]["dice/cell"]
    assert summary["images"] == 3
    assert dice["low"] <= dice["mean"] <= dice["high"]
    rows = pd.read_csv(run.path / "evaluation" / "test" / "per_image.csv")
    assert dice["mean"] == pytest.approx(rows["dice/cell"].mean())
    assert (run.path / "evaluation" / "test" / "examples.png").stat().st_size > 1000


def test_an_array_goes_in_and_labels_of_its_shape_come_out(run):
    image, labels = square(100, size=37)  # no multiple of anything
    found = imt.predict(run, image)
    assert found.shape == (37, 37)
    assert found.dtype.kind in "iu"
    overlap = 2 * np.sum((found == 1) & (labels == 1)) / (np.sum(found == 1) + np.sum(labels == 1))
    assert overlap > 0.7
    assert np.array_equal(found, imt.predict(run, torch.from_numpy(image.astype(np.float32))))
    assert len(imt.predict(run, [image, image])) == 2
    # channels first, as `imt.read` gives them
    assert np.array_equal(found, imt.predict(run, image[None]))
    with pytest.raises(DataError, match=r"data.axes 'YX' does not fit"):
        imt.predict(run, np.stack([image, image]))


def test_evaluating_again_gives_the_same_numbers(fresh):
    before = pd.read_csv(fresh.path / "evaluation" / "test" / "per_image.csv")
    scores = imt.evaluate(fresh, split="test", quiet=True)
    pd.testing.assert_frame_equal(scores.per_image, before, check_exact=False, rtol=1e-6)
    assert scores.summary["metrics"]["dice/cell"]["images"] == 3
    shown = scores._repr_html_()
    assert "<td>dice/cell</td>" in shown
    assert "<td>dice</td>" not in shown  # the mean says what the only class says


def test_a_run_compared_with_itself_differs_by_nothing(fresh, run):
    scores = imt.evaluate(fresh, split="val", against=run, quiet=True)
    entry = scores.summary["against"]["metrics"]["dice/cell"]
    assert entry["difference"] == 0
    assert entry["p_value"] == 1
    assert scores.summary["against"]["images"] == 2


def test_a_split_without_images_and_one_with_a_typo_are_errors(run):
    with pytest.raises(DataError, match="no images in 'naive'"):
        imt.evaluate(run, "naive", quiet=True)
    with pytest.raises(DataError, match="Did you mean 'test'"):
        imt.evaluate(run, "tset", quiet=True)


def test_other_images_are_evaluated(fresh, tmp_path):
    for number in range(20, 24):
        image, labels = square(number)
        io.write(tmp_path / "new" / "images" / f"{number}.tif", image)
        io.write(tmp_path / "new" / "labels" / f"{number}.tif", labels)
    params = {"root": str(tmp_path / "new"), "image": "images/*.tif", "target": "labels/*.tif"}
    source = {"name": "folder", "params": params}
    scores = imt.evaluate(fresh, "other", source=source, quiet=True)
    assert len(scores.per_image) == 4
    assert (fresh.path / "evaluation" / "other" / "summary.json").is_file()


def test_files_keep_sub_folder_name_and_pixel_size(run, tmp_path):
    image, _ = square(50)
    places = ["a/one.ome.tif", "b/one.ome.tif", "two.tif"]
    for place in places:
        io.write(tmp_path / "in" / place, image, spacing=(0.5, 0.25), unit="micrometer")
    written = imt.predict(run, tmp_path / "in", tmp_path / "out")
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in written) == places
    for path in written:
        found = io.read(path)
        assert found.pixels.shape == (1, 30, 30)
        assert found.spacing == pytest.approx((0.5, 0.25))


def test_a_nifti_keeps_its_affine(run, tmp_path):
    image, _ = square(51)
    affine = np.array([[0.5, 0, 0, 7], [0, 0.25, 0, -3], [0, 0, 1, 0], [0, 0, 0, 1]])
    nibabel.save(
        nibabel.Nifti1Image(image.T[..., None].astype(np.int16), affine), tmp_path / "a.nii.gz"
    )
    (written,) = imt.predict(run, tmp_path / "a.nii.gz", tmp_path / "out")
    assert written.name == "a.nii.gz"
    found = nibabel.load(written)
    assert np.allclose(found.affine, affine)
    labels = imt.predict(run, image)
    assert np.array_equal(np.asarray(found.dataobj).squeeze().T, labels)


def test_patterns_tables_and_formats(run, images, tmp_path):
    written = imt.predict(run, str(images / "0[1-3]_IM.tif"), tmp_path / "p", suffix=".png")
    assert [path.name for path in written] == ["01_IM.png", "02_IM.png", "03_IM.png"]
    table = tmp_path / "table.csv"
    table.write_text(f"image,note\n{images / '04_IM.tif'},x\n{images / '05_IM.tif'},y\n")
    written = imt.predict(run, table, tmp_path / "t", suffix=".npy")
    assert [path.name for path in written] == ["04_IM.npy", "05_IM.npy"]
    assert np.array_equal(
        np.load(written[0]), imt.predict(run, io.read(images / "04_IM.tif").pixels[0])
    )


def test_an_ome_zarr_is_one_image(run, tmp_path):
    from bioio_ome_zarr.writers import OMEZarrWriter

    image, _ = square(52)
    path = tmp_path / "in" / "cells.ome.zarr"
    writer = OMEZarrWriter(
        str(path),
        level_shapes=[image.shape],
        dtype=image.dtype,
        axes_names=["y", "x"],
        axes_types=["space", "space"],
    )
    writer.write_full_volume(image)
    (written,) = imt.predict(run, tmp_path / "in", tmp_path / "out")
    assert written.name == "cells.ome.tif"
    assert np.array_equal(io.read(written).pixels[0], imt.predict(run, image))


def test_one_bad_file_among_many_is_named_and_the_others_are_predicted(
    run, images, tmp_path, capfd
):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(images / "01_IM.tif", folder / "good.tif")
    (folder / "text.tif").write_text("hello")
    (folder / "empty.tif").touch()
    words = ["predict", str(run.path), str(folder), "--output", str(tmp_path / "out")]
    assert main(words) == 2
    told = capfd.readouterr().err
    assert "text.tif" in told
    assert "empty.tif" in told
    assert "Traceback" not in told
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.tif"]


def test_an_input_is_never_overwritten(run, images, tmp_path):
    shutil.copy(images / "01_IM.tif", tmp_path / "a.tif")
    before = (tmp_path / "a.tif").read_bytes()
    with pytest.raises(DataError, match="overwrite this input"):
        imt.predict(run, tmp_path / "a.tif", tmp_path)
    assert (tmp_path / "a.tif").read_bytes() == before


def test_two_images_of_one_name_do_not_fall_on_each_other(run, images, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(images / "01_IM.tif", tmp_path / folder / "same.tif")
    with pytest.raises(DataError, match="would fall on that of"):
        imt.predict(
            run, [tmp_path / "a" / "same.tif", tmp_path / "b" / "same.tif"], tmp_path / "out"
        )


def test_missing_inputs_are_all_named(run, tmp_path):
    with pytest.raises(DataError) as caught:
        imt.predict(run, [tmp_path / "no1.tif", tmp_path / "no2.tif"], tmp_path / "out")
    assert "no1.tif" in str(caught.value)
    assert "no2.tif" in str(caught.value)


def test_the_model_predicts_without_its_training_data(fresh, images, tmp_path, monkeypatch):
    text = (fresh.path / "config.yaml").read_text().replace(str(images), str(tmp_path / "gone"))
    (fresh.path / "config.yaml").write_text(text)
    image, _ = square(3)
    assert imt.predict(fresh, image).shape == (30, 30)


def test_a_run_folder_that_exists_is_refused(images, run, capfd):
    with pytest.raises(RunError, match="exists already"):
        imt.train(load(images), path=run.path, quiet=True)
    assert run.status.state is State.FINISHED


def test_a_gpu_asked_for_where_there_is_none_is_refused_before_a_run_is_made(images, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    config = load(images, **{"trainer.accelerator": "gpu"})
    with pytest.raises(ConfigError, match=r"trainer\.accelerator: asks for 'gpu'"):
        imt.train(config, path=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_fine_tuning_reports_what_was_loaded(images, run, tmp_path):
    changed = {
        "task.start_from.run": str(run.path),
        "task.start_from.exclude": ["nets.net.model.0.*"],
        "trainer.max_epochs": 1,
    }
    tuned = imt.train(load(images, **changed), path=tmp_path / "tuned", quiet=True)
    report = tuned.resolved["loaded"]
    assert len(report["loaded"]) > 0
    assert all(name.startswith("nets.net.model.0.") for name in report["excluded"])
    assert tuned.metrics["train/loss"].iloc[0] < run.metrics["train/loss"].iloc[0]


@pytest.mark.parametrize("mode", ["fast", "overfit", "limit", "profile"])
def test_debug_modes_run(images, tmp_path, mode, capfd):
    import yaml

    raw = json.loads(json.dumps(CONFIG))
    raw["data"]["source"]["params"]["root"] = str(images)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(raw))
    words = ["train", str(tmp_path / "c.yaml"), "--folder", str(tmp_path / "run"), "--debug", mode]
    code, (told, complaints) = main(words), capfd.readouterr()
    assert code == 0, complaints
    run = Run(tmp_path / "run")
    assert run.status.state is State.FINISHED
    if mode == "overfit":
        losses = run.metrics["train/loss"].dropna()
        assert losses.iloc[-1] < 0.5 * losses.iloc[0]
        # validation looks at the same images, which is what the mode asks about
        assert run.metrics["val/dice"].dropna().iloc[-1] > 0.9
    if mode == "fast":
        assert run.checkpoints == []
    if mode == "profile":
        (profile,) = run.path.glob("*profile*")
        assert "run_training_batch" in profile.read_text(encoding="utf-8")
        assert f"wrote  profile: {profile}" in told


def test_barebones_trains_and_keeps_nothing(images, tmp_path):
    config = load(images, **{"trainer.max_epochs": 1, "trainer.barebones": True})
    run = imt.train(config, path=tmp_path / "run")
    assert run.status.state is State.FINISHED
    assert run.checkpoints == []
    assert run.metrics.empty


def test_a_run_may_limit_what_it_predicts(fresh, images, tmp_path):
    place = fresh.path / "config.yaml"
    text = place.read_text(encoding="utf-8")
    place.write_text(text.replace("limit_predict_batches: null", "limit_predict_batches: 2"))
    assert len(imt.predict(fresh, str(images / "*_IM.tif"), tmp_path / "out")) == 2


def test_check_runs_one_batch_and_makes_no_run(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = imt.check_run(load(images))
    assert report.shapes["image"] == (4, 1, 16, 16)
    assert report.shapes["prediction"] == (4, 2, 16, 16)
    assert report.parameters == report.trained > 0
    assert report.epoch_seconds > report.step_seconds > 0
    assert 0 < report.loss < 5
    assert "val/dice/cell" in report.metrics
    assert list(tmp_path.iterdir()) == []
    assert "epoch" in str(report)
    assert "val/dice/cell" in str(report)
    assert not re.search(r"^val/dice\s", str(report), re.MULTILINE)  # as the only class says


def test_check_notes_a_class_that_no_image_shows(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = imt.check_run(load(images, **{"task.classes": ["background", "cell", "gap"]}))
    assert any("no training image shows 'gap'" in note for note in report.notes)


def test_check_names_a_patch_that_the_net_cannot_take(images):
    with pytest.raises(ConfigError, match=r"patch\.size"):
        imt.check_run(load(images, **{"data.patch.size": [15, 15]}))


def test_the_commands_on_runs(fresh, run, monkeypatch, capfd):
    monkeypatch.setenv("IMTOOLKIT_RUNS", str(fresh.path.parent))
    assert main(["runs", "list", "--json"]) == 0
    listed = json.loads(capfd.readouterr().out)["runs"]
    assert [(entry["id"], entry["epochs"]) for entry in listed] == [("run", 8)]
    assert main(["runs", "show", "latest"]) == 0
    assert "val/dice" in capfd.readouterr().out
    assert main(["runs", "compare", "latest", str(run.path)]) == 0
    capfd.readouterr()
    assert main(["evaluate", "latest", "--split", "val", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["metrics"]["dice/cell"]["images"] == 2
    assert main(["runs", "delete", "latest"]) == 2  # nobody can be asked here
    assert fresh.path.exists()
    assert main(["runs", "delete", "latest", "--yes"]) == 0
    assert not fresh.path.exists()
