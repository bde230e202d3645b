"""Maps of uncertainty of any run: how they are made, what is written, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import imtoolkit as imt
from imtoolkit.cli.main import main
from imtoolkit.core.errors import ConfigError, DataError, ImtoolkitError
from imtoolkit.runs import Run
from imtoolkit.trainer.uncertain_results import UncertainPrediction
from tests.helpers.categories import config_of, objects_of, write_discs

pytestmark = pytest.mark.slow
QUICK: dict[str, Any] = {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 1}
PLAIN = {"name": "UNet", "params": {"channels": [4, 8], "strides": [2]}}
SPACING = (0.25, 0.5)
CASES: dict[str, dict[str, Any]] = {
    "dropping": config_of("segmentation", trainer=QUICK),
    "plain": config_of("segmentation", task={"net": PLAIN}, trainer=QUICK),
    "other": config_of("segmentation", task={"net": PLAIN}, trainer=QUICK, seed=7),
    "probabilistic": config_of("probabilistic_unet", trainer=QUICK),
    "enhancing": config_of("enhancement", trainer=QUICK),
    "several": config_of("multitask", trainer=QUICK),
    "classes": config_of("classification", trainer=QUICK),
    "objects": objects_of("segmentation", trainer=QUICK),
    "translating": config_of("pix2pix", trainer=QUICK),
    "embedding": config_of("embedseg", trainer=QUICK),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_discs(tmp_path_factory.mktemp("uncertain"), train=4, val=1)
    image = imt.read(folder / "00_noisy.tif").pixels[0, :, :28]  # no square
    imt.write(folder / "given" / "one.ome.tif", image, spacing=SPACING, unit="micrometer")
    imt.write(folder / "png" / "one.png", (100 + 50 * image).clip(0, 255).astype(np.uint8))
    film = np.stack([image, image[::-1], image[:, ::-1]])
    imt.write(folder / "film.ome.tif", film, axes="TYX", spacing=SPACING, unit="micrometer")
    return folder


@pytest.fixture(scope="module")
def runs(folder: Path) -> Callable[[str], Run]:
    """Return what trains a run of a case once."""
    made: dict[str, Run] = {}

    def run(name: str) -> Run:
        if name not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                made[name] = imt.train(CASES[name], path=folder / "runs" / name, quiet=True)
        return made[name]

    return run


@pytest.fixture
def image(folder: Path) -> np.ndarray:
    pixels: np.ndarray = imt.read(folder / "given" / "one.ome.tif").pixels[0]
    return pixels


# --- how they are made ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "method", "count"),
    [
        (["dropping"], "dropout", 16),
        (["plain"], "perturb", 16),
        (["probabilistic"], "posterior", 16),
        (["plain", "other"], "ensemble", 2),
    ],
)
def test_auto_takes_what_the_runs_have(
    names: list[str],
    method: str,
    count: int,
    runs: Callable[[str], Run],
    image: np.ndarray,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO", logger="imtoolkit"):
        found = imt.predict([runs(name) for name in names], image, uncertainty=True)
    assert (found.method, found.count) == (method, count)
    assert f"uncertainty of {count} predictions by {method}" in caplog.text  # and says so
    labels, maps = found
    assert labels.shape == image.shape
    assert labels.dtype.kind in "iu"
    for name in ("variance", "entropy", "mutual_information"):
        assert maps[name].shape == image.shape
        assert np.isfinite(maps[name]).all()
        assert maps[name].min() >= 0
    assert maps["entropy"].max() <= math.log(2) + 1e-6
    assert (maps["mutual_information"] <= maps["entropy"] + 1e-6).all()
    assert maps["variance"].max() > 0


def test_the_members_of_an_ensemble_say_what_each_says_alone(
    runs: Callable[[str], Run], image: np.ndarray
) -> None:
    pair = [runs("plain"), runs("other")]
    labels, maps = imt.predict(pair, image, uncertainty=True)
    chances = [
        torch.softmax(imt.Predictor(run).raw(_picture(run, image))[0].float().cpu(), 0).numpy()
        for run in pair
    ]
    mean = np.mean(chances, axis=0)
    assert np.array_equal(labels, mean.argmax(0))
    np.testing.assert_allclose(maps["variance"], np.var(chances, axis=0).mean(0), atol=1e-6)
    entropies = [-(p * np.log(p)).sum(0) for p in (mean, *chances)]
    np.testing.assert_allclose(maps["entropy"], entropies[0], atol=1e-5)
    disagreement = entropies[0] - np.mean(entropies[1:], axis=0)
    np.testing.assert_allclose(maps["mutual_information"], disagreement, atol=1e-5)
    assert np.array_equal(labels, imt.predict(pair, image))


def _picture(run: Run, image: np.ndarray) -> Any:
    from imtoolkit.data.loading import array_frames

    return array_frames(image, run.config.data).read(0)


def test_the_mean_over_mirrored_copies_is_that_of_test_time_flips(
    runs: Callable[[str], Run], image: np.ndarray
) -> None:
    from dataclasses import replace

    run = runs("enhancing")
    found = imt.predict(run, image, uncertainty="flips")
    assert found.count == 4
    predictor = imt.Predictor(run)
    predictor.task.inference = replace(predictor.task.inference, flips=True)
    np.testing.assert_allclose(found.prediction, predictor.array(image), atol=1e-5)
    assert found.maps["variance"].shape == image.shape
    assert set(found.maps) == {"variance", "entropy"}  # one value has no entropy of its own


def test_flips_of_a_run_that_averages_over_them_differ_all_the_same(
    runs: Callable[[str], Run], image: np.ndarray
) -> None:
    from imtoolkit.config.sections import UncertaintyConfig
    from imtoolkit.trainer.uncertainty import UncertainPredictor

    member = imt.Predictor(runs("plain"))
    object.__setattr__(member.task.inference, "flips", True)
    found = UncertainPredictor([member], UncertaintyConfig("flips")).array(image)
    assert found.maps["variance"].max() > 0


def test_a_perturbation_of_nothing_changes_nothing(
    runs: Callable[[str], Run], image: np.ndarray
) -> None:
    nothing = {"name": "gaussian_noise", "params": {"std": 0.0, "prob": 1.0}}
    asked = {"perturb": [nothing], "samples": 3}
    found = imt.predict(runs("plain"), image, uncertainty=asked)
    assert found.method == "perturb"
    assert float(found.maps["variance"].max()) == 0.0
    assert float(found.maps["mutual_information"].max()) == 0.0
    assert np.array_equal(found.prediction, imt.predict(runs("plain"), image))


@pytest.mark.parametrize("name", ["dropping", "plain", "probabilistic"])
def test_maps_are_a_function_of_the_seed(
    name: str, runs: Callable[[str], Run], image: np.ndarray
) -> None:
    run = runs(name)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (
        imt.predict(run, image, uncertainty={"samples": 4, "seed": seed}).maps["variance"]
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_single_predictions_are_kept_where_they_are_asked_for(
    runs: Callable[[str], Run], image: np.ndarray
) -> None:
    asked = {"samples": 5, "keep_samples": True}
    found = imt.predict(runs("probabilistic"), image, uncertainty=asked)
    samples = found.maps["samples"]
    assert samples.shape == (5, *image.shape)
    assert set(np.unique(samples)) <= {0, 1}
    pixels = samples.sum((1, 2))
    assert found.summary["pixels/disc"] == pytest.approx(pixels.mean())
    assert found.summary["pixels_std/disc"] == pytest.approx(pixels.std())


def test_the_summary_is_that_of_the_maps(runs: Callable[[str], Run], image: np.ndarray) -> None:
    found = imt.predict(runs("dropping"), image, uncertainty={"samples": 4})
    inside = found.prediction > 0
    for name, values in found.maps.items():
        assert found.summary[name] == pytest.approx(float(values.mean()), rel=1e-4)
        mean = float(values[inside].mean()) if inside.any() else math.nan
        assert found.summary[f"{name}_foreground"] == pytest.approx(mean, rel=1e-4, nan_ok=True)


def test_a_film_has_maps_of_each_time_point(
    runs: Callable[[str], Run], folder: Path, image: np.ndarray
) -> None:
    film = np.stack([image, image[::-1], image[:, ::-1]])
    found = imt.predict(runs("dropping"), film, axes="TYX", uncertainty={"samples": 3})
    assert found.prediction.shape == found.maps["entropy"].shape == film.shape
    assert len(found.summary) == 3
    alone = imt.predict(runs("dropping"), film[1], uncertainty={"samples": 3})
    np.testing.assert_allclose(found.maps["entropy"][1], alone.maps["entropy"], atol=1e-6)


def test_heads_with_pixels_have_maps_of_their_own(
    runs: Callable[[str], Run], image: np.ndarray, folder: Path
) -> None:
    square = imt.read(folder / "00_noisy.tif").pixels[0]
    found = imt.predict(runs("several"), square, uncertainty={"samples": 3})
    assert set(found.maps) == {"mask"}
    assert found.maps["mask"]["mutual_information"].shape == square.shape
    assert found.prediction["kind"].name in ("small", "large")
    assert found.summary["mask/entropy"] >= 0


def test_objects_are_made_of_the_mean_and_maps_tell_of_their_classes(
    runs: Callable[[str], Run], folder: Path
) -> None:
    image = imt.read(folder / "00_noisy.tif").pixels[0]
    labels, maps = imt.predict(runs("objects"), image, uncertainty={"samples": 3})
    assert labels.shape == maps["mutual_information"].shape == image.shape
    assert labels.dtype.kind == "i"
    assert maps["entropy"].max() <= math.log(3) + 1e-6  # background, inside, boundary


def test_a_generator_drops_and_its_discriminator_does_not_matter(
    runs: Callable[[str], Run], folder: Path
) -> None:
    image = imt.read(folder / "00_noisy.tif").pixels[0]
    found = imt.predict(runs("translating"), image, uncertainty={"samples": 3})
    assert found.method == "dropout"
    assert found.prediction.shape == found.maps["variance"].shape == image.shape


# --- what is written ------------------------------------------------------------------------------


def test_files_lie_beside_the_prediction_with_its_pixel_size(
    runs: Callable[[str], Run], folder: Path, tmp_path: Path
) -> None:
    run = runs("dropping")
    words = ["predict", str(run.path), str(folder / "given"), "-o", str(tmp_path)]
    assert main([*words, "--uncertainty", "--samples", "4"]) == 0
    names = ("one", "one_variance", "one_entropy", "one_mutual_information")
    expected = {"predictions.csv", *(f"{name}.ome.tif" for name in names)}
    assert {path.name for path in tmp_path.iterdir()} == expected
    given = imt.read(folder / "given" / "one.ome.tif")
    in_python = imt.predict(run, given.pixels[0], uncertainty={"samples": 4})
    for name in names:
        written = imt.read(tmp_path / f"{name}.ome.tif")
        assert written.spacing == pytest.approx(SPACING)
        assert written.pixels.shape == given.pixels.shape
        own = in_python.maps.get(name.removeprefix("one_"), in_python.prediction)
        np.testing.assert_allclose(written.pixels[0], own, atol=1e-6)
    row = pd.read_csv(tmp_path / "predictions.csv").iloc[0]
    assert row["image"].endswith("one.ome.tif")
    for name, value in in_python.summary.items():
        assert row[name] == pytest.approx(value, nan_ok=True), name


def test_beside_a_png_maps_are_ome_tiff(
    runs: Callable[[str], Run], folder: Path, tmp_path: Path
) -> None:
    asked = {"samples": 2, "keep_samples": True}
    files = imt.predict(runs("plain"), folder / "png", tmp_path, uncertainty=asked)
    names = {path.name for path in files}
    assert "one.png" in names
    assert {"one_entropy.ome.tif", "one_samples.ome.tif", "predictions.csv"} <= names
    assert imt.read(tmp_path / "one_samples.ome.tif").pixels.shape == (2, 32, 28)


def test_a_film_is_written_with_its_time_axis(
    runs: Callable[[str], Run], folder: Path, tmp_path: Path
) -> None:
    asked = {"samples": 2}
    imt.predict(runs("enhancing"), folder / "film.ome.tif", tmp_path, uncertainty=asked)
    for name in ("film", "film_variance", "film_entropy"):
        assert imt.read(tmp_path / f"{name}.ome.tif", time=2).pixels.shape == (1, 32, 28)
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert table["time"].tolist() == [0, 1, 2]


def test_maps_never_fall_on_an_input(
    runs: Callable[[str], Run], folder: Path, tmp_path: Path, image: np.ndarray
) -> None:
    for name in ("a", "a_entropy"):
        imt.write(tmp_path / f"{name}.ome.tif", image, axes="YX")
    with pytest.raises(DataError, match="would fall on that of"):
        imt.predict(runs("plain"), tmp_path, tmp_path / "out", uncertainty=True)
    assert not (tmp_path / "out").exists()


# --- whether it tells errors --------------------------------------------------------------------


def test_an_evaluation_tells_how_well_uncertainty_tells_errors(
    runs: Callable[[str], Run],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    run = runs("dropping")
    words = ["evaluate", str(run.path), "--split", "val", "--uncertainty", "--samples", "3"]
    assert main(words) == 0
    assert "3 predictions of each by dropout" in capsys.readouterr().out
    table = pd.read_csv(
        run.path / "evaluation" / "val-uncertainty" / "per_image.csv", dtype={"id": str}
    )
    (row,) = table.to_dict("records")
    image, mask = (
        imt.read(folder / f"{row['id']}_{name}.tif").pixels[0] for name in ("noisy", "mask")
    )
    labels, maps = imt.predict(run, image, uncertainty={"samples": 3})
    wrong = labels != mask
    assert 0 < wrong.sum() < wrong.size
    for name in ("entropy", "variance", "mutual_information"):
        above, below = maps[name][wrong][:, None], maps[name][~wrong][None]
        auroc = ((above > below) + 0.5 * (above == below)).mean()
        assert row[f"error_auroc/{name}"] == pytest.approx(auroc, abs=1e-3)
        assert row[name] == pytest.approx(float(maps[name].mean()), rel=1e-3)
    both = 2 * ((labels > 0) & (mask > 0)).sum()
    assert row["dice/disc"] == pytest.approx(both / ((labels > 0).sum() + (mask > 0).sum()))


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (["probabilistic"], {"error_auroc/entropy", "dice", "entropy_foreground"}),
        (["plain", "other"], {"error_auroc/mutual_information", "dice"}),
        (["enhancing"], {"error_correlation", "psnr", "variance"}),
        (["several"], {"mask/error_auroc/entropy", "mask/dice", "kind/predicted"}),
    ],
)
def test_every_kind_of_output_is_measured(
    names: list[str],
    columns: set[str],
    runs: Callable[[str], Run],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    asked = {"samples": 2} if len(names) == 1 else True
    found = imt.evaluate_uncertainty([runs(name) for name in names], "val", uncertainty=asked)
    assert columns <= set(found.per_image.columns)
    assert found.path is not None
    assert found.path.name == "val-uncertainty"
    assert all(value is None for value in found.summary["correlation"].values())  # of one image


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "asked", "words"),
    [
        (["plain"], "dropout", "'dropout' needs a net with dropout layers, and this one has none"),
        (["plain"], "posterior", "'posterior' needs samples of a probabilistic U-Net"),
        (["plain"], "ensemble", "'ensemble' needs several runs"),
        (["plain", "other"], "dropout", "'dropout' is for one run, and 2 are given"),
        (["plain"], "dropuot", "Did you mean 'dropout'"),
        (["plain"], {"sample": 4}, "unknown key 'sample'. Did you mean 'samples'"),
        (["plain"], {"samples": 1}, "must be at least 2"),
        (["plain"], {"samples": "8"}, "samples: expects a whole number, got the text '8'"),
        (["plain"], {"samples": 2.5}, "expects a whole number, got the number 2.5"),
        (["plain"], {"seed": "x"}, "seed: expects a whole number"),
        (["plain"], {"method": 3}, "method: expects a text"),
        (["plain"], {"perturb": "flips"}, "perturb: expects a list of transforms"),
        (["plain"], {"perturb": [{"params": {}}]}, "perturb.0: expects a component"),
        (["plain"], ["flips"], "expected True, a method such as 'flips'"),
        (["plain", "plain"], "ensemble", "is given twice"),
        (["plain"], {"method": "flips", "samples": 8}, "leave the number of samples out"),
        (["plain"], {"perturb": ["random_affine"]}, "'random_affine' moves pixels"),
        (["classes"], True, "says one thing of a whole image"),
        (["plain", "probabilistic"], True, "cannot vote together"),
        (["embedding"], True, "the category 'embedseg' predicts neither"),
    ],
)
def test_what_a_run_cannot_do_is_told(
    names: list[str], asked: Any, words: str, runs: Callable[[str], Run], image: np.ndarray
) -> None:
    with pytest.raises(ImtoolkitError) as caught:
        imt.predict([runs(name) for name in names], image, uncertainty=asked)
    assert words in str(caught.value)


def test_a_majority_has_no_uncertainty(runs: Callable[[str], Run], image: np.ndarray) -> None:
    pair = [runs("plain"), runs("other")]
    with pytest.raises(DataError, match="got the vote 'majority'"):
        imt.predict(pair, image, vote="majority", uncertainty=True)


def test_options_of_uncertainty_without_it_are_refused(
    runs: Callable[[str], Run], folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["predict", str(runs("plain").path), str(folder / "given"), "-o", str(tmp_path)]
    assert main([*words, "--samples", "4"]) == 2
    assert "belong to --uncertainty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("category", "sections", "words"),
    [
        (
            "segmentation",
            {"inference": {"uncertainty": {"method": "posterior"}}},
            "inference.uncertainty.method: 'posterior' needs samples",
        ),
        (
            "segmentation",
            {"inference": {"uncertainty": {"method": "flips", "samples": 4}}},
            "predicts as often as there are mirrored copies",
        ),
        (
            "segmentation",
            {"inference": {"uncertainty": {"method": "dropout", "perturb": ["flips"]}}},
            "belongs to the method 'perturb'",
        ),
        (
            "segmentation",
            {"inference": {"uncertainty": {"perturb": ["flipz"]}}},
            "unknown transform 'flipz'",
        ),
        ("probabilistic_unet", {"task": {"samples": 1}}, "task.samples: must be at least 2"),
        ("probabilistic_unet", {"task": {"reduction": "max"}}, "'max' is not known"),
        (
            "probabilistic_unet",
            {"task": {"losses": {"kl": {"name": "dice"}}}},
            "'kl' is the name of a part of this category's loss",
        ),
        (
            "segmentation",
            {"task": {"net": {"name": "probabilistic_unet", "params": {}}}},
            "would never train its posterior",
        ),
        (
            "segmentation",
            {"trainer": {"schedules": {"task.beta": {"name": "linear", "params": {}}}}},
            "leads to no number",
        ),
        (
            "probabilistic_unet",
            {"trainer": {"checkpoint": {"monitor": ["val/gde"]}}},
            "there is no metric 'val/gde'. Did you mean 'val/ged'",
        ),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(
    category: str, sections: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        imt.load_config(config_of(category, **sections))
    assert words in str(caught.value)


def test_it_unpacks_into_prediction_and_maps() -> None:
    prediction, maps = UncertainPrediction(1, {"entropy": 2}, "flips", 4)
    assert (prediction, maps) == (1, {"entropy": 2})
