"""Check, train, evaluate and predict with classes, numbers, enhanced images and several heads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import imtoolkit as imt
from imtoolkit import io
from imtoolkit.cli.main import main
from imtoolkit.core.errors import DataError
from imtoolkit.runs import Run
from imtoolkit.trainer.evaluate_ensemble import evaluate_ensemble
from imtoolkit.trainer.results import ImageClass, ImageLabels

SIZE = 32
CLASSES = ["small", "large"]
POOL = {"name": "global_pool", "params": {"hidden": []}}
BACKBONE = {"name": "unet_features", "params": {"features": [4, 4, 4, 4, 4, 4]}}


def drawn(number: int) -> dict[str, Any]:
    """Return a noisy disc, its clean image and its mask; every second one is large."""
    rng = np.random.default_rng(number)
    radius = 5.0 if number % 2 else 2.5
    y, x = np.mgrid[:SIZE, :SIZE]
    mask = np.hypot(y - rng.integers(6, 10), x - rng.integers(6, 10)) < radius
    clean = mask.astype(np.float32)
    noisy = (clean + 0.3 * rng.normal(size=mask.shape)).astype(np.float32)
    return {"noisy": noisy, "clean": clean, "mask": mask.astype(np.uint8), "radius": radius}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a table of images with targets of every kind."""
    root = tmp_path_factory.mktemp("discs")
    rows = []
    for number in range(14):
        made = drawn(number)
        for name in ("noisy", "clean", "mask"):
            io.write(root / f"{number:02d}_{name}.tif", made[name], axes="YX")
        kind = CLASSES[number % 2]
        rows.append(
            {
                "image": f"{number:02d}_noisy.tif",
                "clean": f"{number:02d}_clean.tif",
                "mask": f"{number:02d}_mask.tif",
                "kind": kind,
                "grade": "" if number == 1 else kind,
                "labels": "round;big" if number % 2 else "round",
                "radius": made["radius"] + 0.1 * (number % 3),
                "age": 30 + number,
                "split": "test" if number >= 10 else "val" if number >= 7 else "train",
            }
        )
    pd.DataFrame(rows).to_csv(root / "discs.csv", index=False)
    return root / "discs.csv"


def config_of(table: Path, target: str | None, task: dict[str, Any], **data: Any) -> Any:
    params = {"path": str(table), "id": "image"}
    raw = {
        "name": "discs",
        "data": {
            "source": {"name": "csv", "params": params | ({"target": target} if target else {})},
            "axes": "YX",
            "loader": {"batch_size": 4, "workers": 0},
            **data,
        },
        "task": {"optimizer": {"name": "AdamW", "params": {"lr": 1e-2}}, **task},
        "trainer": {
            "max_epochs": 1,
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "pictures": {"every_epochs": 1, "count": 4},
        },
        "evaluation": {"resamples": 50, "save_predictions": True},
    }
    return imt.load_config(raw)


def trained(table: Path, target: str | None, task: dict[str, Any], **data: Any) -> Run:
    return imt.train(config_of(table, target, task, **data), quiet=True)


def head_net(heads: dict[str, Any]) -> dict[str, Any]:
    return {"name": "multi_head", "params": {"backbone": BACKBONE, "heads": heads}}


def whole_net(post: Any = POOL) -> dict[str, Any]:
    params = {"backbone": {"name": "resnet", "params": {"depth": 10, "width": 4}}, "post": post}
    return {"name": "composed", "params": params}


CLASSIFY = {"category": "classification", "classes": CLASSES, "net": whole_net()}


@pytest.fixture(scope="module")
def classifier(table: Path, runs: None) -> Run:
    return trained(table, "kind", CLASSIFY)


@pytest.fixture(scope="module")
def second(table: Path, runs: None) -> Run:
    return trained(table, "kind", {**CLASSIFY, "losses": {"focal": {"name": "FocalLoss"}}})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMTOOLKIT_RUNS", str(tmp_path_factory.mktemp("runs")))
        yield


@pytest.fixture(scope="module")
def denoiser(table: Path, runs: None) -> Run:
    net = {"name": "UNet", "params": {"channels": [4, 8], "strides": [2]}}
    return trained(table, "clean", {"category": "enhancement", "net": net})


@pytest.fixture(scope="module")
def several(table: Path, runs: None) -> Run:
    task = {
        "category": "multitask",
        "net": head_net({"mask": "dense", "kind": "global_pool", "radius": "global_pool"}),
        "heads": {
            "mask": {"kind": "segmentation", "classes": ["background", "disc"]},
            "kind": {"kind": "classification", "classes": CLASSES, "columns": ["grade"]},
            "radius": {"kind": "regression"},
        },
    }
    return trained(table, "mask", task)


def noisy(number: int) -> NDArray[Any]:
    found: NDArray[Any] = drawn(number)["noisy"]
    return found


def kept(run: Run, name: str) -> pd.DataFrame:
    return pd.read_csv(run.path / "predictions" / "test" / name)


def test_an_array_gives_a_class_with_probabilities(classifier: Run) -> None:
    found = imt.predict(classifier, noisy(11))
    assert isinstance(found, ImageClass)
    assert found.name == max(found.probabilities, key=lambda name: found.probabilities[name])
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert str(found).startswith(found.name)


def test_files_of_a_classification_become_a_table(
    classifier: Run, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(table.parent / "1*_noisy.tif"), "--output", str(tmp_path / "out"), "--json"]
    assert main(["predict", str(classifier.path), *words]) == 0
    written = [Path(name) for name in json.loads(capsys.readouterr().out)["written"]]
    assert written == [tmp_path / "out" / "predictions.csv"]
    rows = pd.read_csv(written[0])
    assert [Path(name).name for name in rows["image"]] == [f"{n}_noisy.tif" for n in range(10, 14)]
    assert list(rows.columns[1:]) == ["predicted", "probability/small", "probability/large"]
    expected = imt.predict(classifier, noisy(11))
    assert rows["predicted"][1] == expected.name
    assert rows["probability/large"][1] == pytest.approx(expected.probabilities["large"], abs=1e-5)


def test_the_table_of_predictions_overwrites_no_input(
    classifier: Run, table: Path, tmp_path: Path
) -> None:
    given = tmp_path / "predictions.csv"
    given.write_text(f"image\n{table.parent / '10_noisy.tif'}\n")
    with pytest.raises(DataError, match=r"would overwrite this input"):
        imt.predict(classifier, given, tmp_path)


def test_an_evaluation_keeps_records_and_pictures(classifier: Run) -> None:
    folder = classifier.path / "evaluation" / "test"
    rows = pd.read_csv(folder / "per_image.csv")
    assert list(rows["target"]) == ["small", "large", "small", "large"]
    right = (rows["target"] == rows["predicted"]).mean()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["metrics"]["accuracy"]["mean"] == right
    assert summary["outputs"]["output"]["classes"] == CLASSES
    there = {path.name for path in folder.glob("*.png")}
    assert there == {"calibration.png", "confusion.png", "curves.png", "examples.png"}
    pd.testing.assert_frame_equal(
        kept(classifier, "predictions.csv"), rows.drop(columns="loss"), check_dtype=False
    )
    assert list((classifier.path / "pictures").glob("epoch-*.png"))


def test_two_runs_are_compared_by_metrics_of_the_set(classifier: Run, second: Run) -> None:
    scores = imt.evaluate(classifier, against=second, quiet=True)
    found = scores.summary["against"]["metrics"]["accuracy"]
    assert found["images"] == 4
    assert -1 <= found["difference"] <= 1


def test_other_images_are_evaluated_from_a_table(
    classifier: Run, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pd.read_csv(table, dtype=str).iloc[[2, 3]][["image", "kind"]]
    rows["image"] = [str(table.parent / name) for name in rows["image"]]
    rows.rename(columns={"kind": "target"}).to_csv(tmp_path / "new.csv", index=False)
    words = ["evaluate", str(classifier.path), "--table", str(tmp_path / "new.csv"), "--json"]
    assert main(words) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["images"], answer["split"]) == (2, "other")
    folder = classifier.path / "evaluation" / "other"
    assert (folder / "examples.png").is_file()
    assert list(kept(classifier, "predictions.csv")["id"]) == [
        f"{n}_noisy.tif" for n in range(10, 14)
    ]


def test_several_labels_are_named(table: Path, runs: None, tmp_path: Path) -> None:
    task = {
        "category": "classification",
        "classes": ["round", "big"],
        "multilabel": True,
        "net": whole_net(),
    }
    run = trained(table, "labels", task)
    found = imt.predict(run, noisy(11))
    assert isinstance(found, ImageLabels)
    assert found.names == tuple(n for n, p in found.probabilities.items() if p >= 0.5)
    imt.predict(run, table, tmp_path)
    rows = pd.read_csv(tmp_path / "predictions.csv")
    assert {"predicted/round", "predicted/big", "probability/big"} <= set(rows.columns)
    assert len(rows) == 14


def test_numbers_come_in_the_unit_of_the_table(table: Path, runs: None, tmp_path: Path) -> None:
    run = trained(table, "radius", {"category": "regression", "net": whole_net()})
    found = imt.predict(run, noisy(11))
    assert isinstance(found, float)
    (written,) = imt.predict(run, table.parent / "11_noisy.tif", tmp_path)
    assert pd.read_csv(written)["predicted"][0] == pytest.approx(found, rel=1e-4)
    rows = kept(run, "predictions.csv")
    summary = json.loads((run.path / "evaluation" / "test" / "summary.json").read_text())
    mae = (rows["target"] - rows["predicted"]).abs().mean()
    assert summary["metrics"]["mae"]["mean"] == pytest.approx(mae)
    assert (run.path / "evaluation" / "test" / "numbers.png").is_file()


def test_columns_of_the_table_are_needed_beside_an_image(
    table: Path, runs: None, tmp_path: Path
) -> None:
    post = {"name": "global_pool", "params": {"tabular": True}}
    run = trained(table, "kind", {**CLASSIFY, "net": whole_net(post)}, tabular=["age"])
    young = imt.predict(run, noisy(11), tabular={"age": 41})
    old = imt.predict(run, noisy(11), tabular={"age": 90})
    assert young.probabilities != old.probabilities
    imt.predict(run, table, tmp_path)
    rows = pd.read_csv(tmp_path / "predictions.csv")
    assert rows["probability/large"][11] == pytest.approx(young.probabilities["large"], abs=1e-4)
    with pytest.raises(DataError, match=r"takes 'age' beside the image: give a table"):
        imt.predict(run, table.parent / "11_noisy.tif", tmp_path / "other")
    with pytest.raises(DataError, match=r"tabular=\{'column': value\}"):
        imt.predict(run, noisy(11))
    with pytest.raises(DataError, match="no column 'age'"):
        imt.predict(run, noisy(11), tabular={"years": 41})


def test_enhanced_images_keep_their_fractions_and_their_kind_of_file(
    denoiser: Run, table: Path, tmp_path: Path
) -> None:
    found = imt.predict(denoiser, noisy(11))
    assert (found.shape, found.dtype) == ((SIZE, SIZE), np.float32)
    assert imt.predict(denoiser, noisy(11)[None]).shape == (1, SIZE, SIZE)
    (written,) = imt.predict(denoiser, table.parent / "11_noisy.tif", tmp_path)
    assert written == tmp_path / "11_noisy.tif"
    np.testing.assert_allclose(io.read(written).pixels[0], found, rtol=1e-5)
    grey = np.clip(255 * noisy(11), 0, 255).astype(np.uint8)
    io.write(tmp_path / "in" / "photo.png", grey, axes="YX")
    (written,) = imt.predict(denoiser, tmp_path / "in" / "photo.png", tmp_path)
    assert written.name == "photo.ome.tif"
    assert io.read(written).pixels.dtype == np.float32
    with pytest.raises(DataError, match="would be rounded"):
        imt.predict(denoiser, tmp_path / "in" / "photo.png", tmp_path, suffix=".png")
    rows = pd.read_csv(denoiser.path / "evaluation" / "test" / "per_image.csv")
    assert {"psnr", "ssim"} <= set(rows.columns)
    assert (denoiser.path / "predictions" / "test" / "11_noisy.tif.ome.tif").is_file()


def test_enlarged_images_have_the_smaller_pixel_size(
    table: Path, runs: None, tmp_path: Path
) -> None:
    rows = []
    for number in range(5):
        fine = np.kron(drawn(number)["clean"][:16, :16], np.ones((2, 2), np.float32))
        small = fine.reshape(16, 2, 16, 2).mean((1, 3))
        for name, pixels, size in (("small", small, 0.5), ("fine", fine, 0.25)):
            places: dict[str, Any] = {"spacing": (size, size), "unit": "micrometer", "axes": "YX"}
            io.write(tmp_path / f"{number}_{name}.ome.tif", pixels, **places)
        split = ("train", "train", "train", "val", "test")[number]
        names = {"image": f"{number}_small.ome.tif", "target": f"{number}_fine.ome.tif"}
        rows.append({**names, "split": split})
    pd.DataFrame(rows).to_csv(tmp_path / "pairs.csv", index=False)
    net = {"name": "UNet", "params": {"channels": [4, 8], "strides": [2]}}
    task = {"category": "enhancement", "residual": True, "net": net}
    run = trained(tmp_path / "pairs.csv", None, task, preprocess=["enlarge"])
    (written,) = imt.predict(run, tmp_path / "4_small.ome.tif", tmp_path / "out")
    found = io.read(written)
    assert found.pixels.shape == (1, 32, 32)
    assert found.spacing == pytest.approx((0.25, 0.25))
    twice = imt.predict([run, run], io.read(tmp_path / "4_small.ome.tif").pixels[0])
    np.testing.assert_allclose(twice, found.pixels[0], atol=1e-5)


def test_each_head_has_its_file_and_its_columns(several: Run, table: Path, tmp_path: Path) -> None:
    found = imt.predict(several, noisy(11))
    assert set(found) == {"mask", "kind", "radius"}
    assert found["mask"].shape == (SIZE, SIZE)
    assert isinstance(found["kind"], ImageClass)
    mask, rows = imt.predict(several, table.parent / "11_noisy.tif", tmp_path)
    assert (mask.name, rows.name) == ("11_noisy_mask.tif", "predictions.csv")
    np.testing.assert_array_equal(io.read(mask).pixels[0], found["mask"])
    row = pd.read_csv(rows).iloc[0]
    assert row["kind/predicted"] == found["kind"].name
    assert row["radius/predicted"] == pytest.approx(found["radius"], rel=1e-4)
    folder = several.path / "predictions" / "test"
    assert (folder / "11_noisy.tif_mask.ome.tif").is_file()
    assert {"kind/target", "radius/predicted"} <= set(kept(several, "predictions.csv").columns)
    summary = several.evaluations["test"]
    assert {"mask/dice", "kind/auroc", "radius/mae"} <= set(summary["metrics"])
    assert set(summary["outputs"]) == {"kind", "radius"}


def test_time_points_have_rows_of_their_own(several: Run, tmp_path: Path) -> None:
    movie = np.stack([noisy(10), noisy(11), noisy(12)])
    io.write(tmp_path / "in" / "movie.ome.tif", movie, axes="TYX")
    mask, rows = imt.predict(several, tmp_path / "in" / "movie.ome.tif", tmp_path, axes="TYX")
    assert io.probe(mask).times == 3
    frames = pd.read_csv(rows)
    assert list(frames["time"]) == [0, 1, 2]
    found = imt.predict(several, movie, axes="TYX")
    assert found["mask"].shape == (3, SIZE, SIZE)
    assert found["kind"][1].name == frames["kind/predicted"][1]


def test_check_tells_shapes_beside_targets_and_missing_labels(several: Run, table: Path) -> None:
    report = imt.check_run(imt.load_config(several.path / "config.yaml"))
    names = [name for name in report.shapes if name not in ("spacing", "draw")]
    assert names.index("prediction/kind") == names.index("kind") + 1
    assert report.shapes["prediction/mask"] == (4, 2, SIZE, SIZE)
    assert report.shapes["prediction/radius"] == report.shapes["radius"] == (4, 1)
    text = str(report)
    assert "prediction of kind of a batch" in text
    assert "1 of 7 training images have no label of kind" in text
    assert "training images by class of kind: 4 small, 2 large" in text
    assert "probability" not in text


def test_members_vote_by_average_or_majority(
    classifier: Run, second: Run, table: Path, tmp_path: Path
) -> None:
    others = [second, trained(table, "kind", {**CLASSIFY, "freeze": ["nets.net.backbone.*"]})]
    members = [classifier, *others]
    alone = [imt.predict(run, noisy(11)) for run in members]
    together = imt.predict(members, noisy(11))
    for name in CLASSES:
        mean = np.mean([one.probabilities[name] for one in alone])
        assert together.probabilities[name] == pytest.approx(mean, abs=1e-6)
    said = [one.name for one in alone]
    assert imt.predict(members, noisy(11), vote="majority").name == max(CLASSES, key=said.count)
    words = [str(table.parent / "11_noisy.tif"), "--output", str(tmp_path)]
    with_ = [word for run in others for word in ("--with", str(run.path))]
    assert main(["predict", str(classifier.path), *words, *with_, "--vote", "average"]) == 0
    row = pd.read_csv(tmp_path / "predictions.csv").iloc[0]
    assert row["predicted"] == together.name
    assert main(["evaluate", str(classifier.path), *with_]) == 0
    folder = classifier.path / "evaluation" / "test-ensemble"
    shown = pd.read_csv(folder / "members.csv", index_col="metric")
    assert list(shown.columns) == [*(run.id for run in members), "average", "majority"]
    average = pd.read_csv(folder / "per_image.csv")
    each = [pd.read_csv(folder / run.id / "per_image.csv") for run in members]
    np.testing.assert_allclose(
        average["probability/large"],
        np.mean([one["probability/large"] for one in each], axis=0),
        atol=1e-5,
    )
    assert shown.loc["accuracy", classifier.id] == pytest.approx(
        classifier.evaluations["test"]["metrics"]["accuracy"]["mean"]
    )


def test_heads_vote_each_in_its_way(several: Run, denoiser: Run) -> None:
    alone = imt.predict(several, noisy(11))
    twice = imt.predict([several, several], noisy(11))
    np.testing.assert_array_equal(twice["mask"], alone["mask"])
    assert twice["radius"] == pytest.approx(alone["radius"])
    assert twice["kind"].probabilities == pytest.approx(alone["kind"].probabilities)
    median = imt.predict([denoiser, denoiser], noisy(11), vote="majority")
    np.testing.assert_allclose(median, imt.predict(denoiser, noisy(11)), rtol=1e-6)


def test_runs_that_do_not_fit_are_refused_with_both(
    classifier: Run, denoiser: Run, table: Path
) -> None:
    with pytest.raises(DataError, match=r"has a classification of .* has an image of"):
        imt.predict([classifier, denoiser], noisy(11))
    turned = trained(table, "kind", {**CLASSIFY, "classes": CLASSES[::-1]})
    with pytest.raises(DataError, match=r"small, large.*large, small"):
        imt.predict([classifier, turned], noisy(11))
    with pytest.raises(DataError, match=r"'averge'. Did you mean 'average'"):
        imt.predict([classifier, classifier], noisy(11), vote="averge")
    scaled = trained(table, "kind", CLASSIFY, preprocess=["normalize_zscore"])
    with pytest.raises(DataError, match=r"preprocessing steps differ.*normalize_zscore"):
        evaluate_ensemble([classifier, scaled])
    with pytest.raises(DataError, match="is given twice"):
        evaluate_ensemble([classifier, classifier])


def test_an_ensemble_tells_of_images_that_a_member_was_trained_on(
    classifier: Run, table: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    rows["split"] = rows["split"].map({"train": "test", "test": "train", "val": "val"})
    for name in ("image", "clean", "mask"):
        rows[name] = [str(table.parent / path) for path in rows[name]]
    rows["id"] = pd.read_csv(table, dtype=str)["image"]
    rows.to_csv(tmp_path / "swapped.csv", index=False)
    config = config_of(tmp_path / "swapped.csv", "kind", CLASSIFY)
    raw = imt.load_config(config_dict(config, {"id": "id"}))
    other = imt.train(raw, quiet=True)
    evaluate_ensemble([classifier, other])
    assert f"run {other.id} was trained on 4 of the 4 images of 'test'" in caplog.text


def config_dict(config: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Return a config as plain values with other parameters of its source."""
    from imtoolkit.config.dump import to_dict

    plain: dict[str, Any] = to_dict(config)
    source = next(iter(plain["data"]["sources"].values()))
    source["source"]["params"].update(params)
    return plain
