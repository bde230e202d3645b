"""Images, labels and tables that cannot be learnt from: each named with a remedy, none changed."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from imtoolkit import io
from imtoolkit.cli.main import main
from imtoolkit.runs import find_run
from tests.helpers.command import COUNT, Done, Place, cell

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 255, (32, 32, 3)).astype(np.uint8)


def with_pixels(bad: float) -> np.ndarray:
    pixels = RNG.random((32, 32), dtype=np.float32)
    pixels[3, 4] = pixels[5, 6] = bad
    return pixels


def cut(place: Place) -> None:
    path = place.images / "c3.tif"
    path.write_bytes(path.read_bytes()[:1000])


def folder_instead(place: Place) -> None:
    (place.images / "c3.tif").unlink()
    (place.images / "c3.tif").mkdir()


def dangling(place: Place) -> None:
    (place.images / "c3.tif").unlink()
    (place.images / "c3.tif").symlink_to("gone.tif")


SPOILT: dict[str, tuple[Callable[[Place], object], tuple[str, ...]]] = {
    "image without target": (
        lambda place: (place.labels / "c3.tif").unlink(),
        ("image without target: ", "images/c3.tif", "3 of 4 images", "Add or remove"),
    ),
    "target without image": (
        lambda place: (place.images / "c3.tif").unlink(),
        ("target without image: ", "labels/c3.tif", "Add or remove"),
    ),
    "sizes that differ": (
        lambda place: place.label(3, np.zeros((32, 30), np.uint8)),
        ("images/c3.tif", "image is 32 x 32, its target 32 x 30", "Pair the right files"),
    ),
    "a target lying on its side": (
        lambda place: (
            place.image(3, np.ones((32, 40), np.uint16)),
            place.label(3, np.ones((40, 32), np.uint8)),
        ),
        ("image is 32 x 40, its target 40 x 32", "looks transposed", "data.target_axes"),
    ),
    "a stack among planes": (
        lambda place: place.image(3, RNG.integers(0, 9, (5, 32, 32)).astype(np.uint16)),
        ("images/c3.tif", "got axes 'YX', but the file has axes ZYX", "data.axes"),
    ),
    "colours among greys": (
        lambda place: place.image(3, COLOURS, photometric="rgb"),
        ("images/c3.tif", "got axes 'YX'", "YXS", "Say axes 'YXC'"),
    ),
    "labels in colours": (
        lambda place: place.label(3, np.stack([np.ones((32, 32), np.uint8)] * 3)),
        ("labels/c3.tif", "axes"),
    ),
    "labels outside the classes": (
        lambda place: place.label(3, np.full((32, 32), 7, np.uint8)),
        (
            "labels/c3.tif",
            "labels 7 are found, expected 0 to 1 (0 background, 1 cell)",
            "binarize_target",
        ),
    ),
    "negative labels": (
        lambda place: place.label(3, np.full((32, 32), -1, np.int16)),
        ("labels/c3.tif", "labels -1 are found, expected 0 to 1"),
    ),
    "float labels": (
        lambda place: place.label(3, np.full((32, 32), 0.5, np.float32)),
        ("labels/c3.tif", "whole numbers", "0.5", "integers"),
    ),
    "NaN in labels": (
        lambda place: place.label(3, with_pixels(np.nan)),
        ("labels/c3.tif", "target has 2 NaN or infinite pixels"),
    ),
    "NaN pixels": (
        lambda place: place.image(3, with_pixels(np.nan)),
        ("images/c3.tif", "image has 2 NaN or infinite pixels of 1024", "replace them"),
    ),
    "infinite pixels": (
        lambda place: place.image(3, with_pixels(np.inf)),
        ("images/c3.tif", "image has 2 NaN or infinite pixels"),
    ),
    "complex pixels": (
        lambda place: place.image(3, np.ones((32, 32), np.complex64)),
        ("image channels varies", "1 of 2 (such as 'c3')", "data.channels"),
    ),
    "a TIFF that was cut short": (
        cut,
        ("images/c3.tif", "is cut short", "1000 bytes", "Copy or export it again"),
    ),
    "a text with the suffix of an image": (
        lambda place: (place.images / "c3.tif").write_text("hello, this is no image\n"),
        ("images/c3.tif", "is not a TIFF", "Export it again"),
    ),
    "an empty file": (
        lambda place: (place.images / "c3.tif").write_bytes(b""),
        ("images/c3.tif", "is empty (0 bytes)", "Copy or export it again"),
    ),
    "a folder with the name of an image": (folder_instead, ("target without image", "c3.tif")),
    "a link to nowhere": (dangling, ("images/c3.tif", "is a link to 'gone.tif', which does not")),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_bad_images_stop_the_training_before_a_run_is_left(place: Place, kind: str) -> None:
    spoil, words = SPOILT[kind]
    spoil(place)
    place.train().refuses(*words)
    assert not place.runs()


@pytest.mark.parametrize("kind", ["sizes that differ", "an empty file", "NaN pixels"])
def test_check_finds_them_as_well(place: Place, kind: str) -> None:
    spoil, words = SPOILT[kind]
    spoil(place)
    place.config()
    place.command("check", "cells.yaml").refuses(*words)


def test_once_mended_the_same_command_trains(place: Place) -> None:
    path = place.images / "c3.tif"
    whole = path.read_bytes()
    path.write_bytes(b"")
    place.train(None, "--folder", "mine").refuses("c3.tif", "is empty")
    assert not (place.folder / "mine").exists()
    path.write_bytes(whole)
    assert place.train(None, "--folder", "mine").code == 0


def test_all_bad_images_are_told_at_once(place: Place) -> None:
    (place.images / "c0.tif").write_bytes(b"")
    place.image(1, with_pixels(np.nan))
    place.label(2, np.full((32, 32), 9, np.uint8))
    place.train().refuses("c0.tif", "empty", "c1.tif", "NaN", "c2.tif", "labels 9")


def test_what_is_wrong_with_all_images_is_said_once(place: Place) -> None:
    for number in range(COUNT):
        place.label(number, cell(number)[1] * 255)
    done = place.train()
    done.refuses("labels 0, 255 are found", "(4 files):", "binarize_target", "c0.tif", "c3.tif")
    assert done.err.count("labels 0, 255") == 1
    assert place.train({"data.preprocess": ["normalize_percentiles", "binarize_target"]}).code == 0


def test_channels_that_vary_are_counted(place: Place) -> None:
    place.image(3, COLOURS, photometric="rgb")
    done = place.train({"data.axes": None})
    done.refuses("number of image channels varies: 3 of 1", "1 of 3", "'c3'", "data.channels")
    assert not place.runs()


def test_whole_numbers_stored_as_floats_are_labels(place: Place) -> None:
    place.label(3, cell(3)[1].astype(np.float32))
    assert place.train().code == 0


@pytest.mark.parametrize("step", ["normalize_percentiles", "normalize_zscore", "normalize_range"])
def test_a_constant_image_warns_and_gives_no_nan(place: Place, step: str) -> None:
    for number in range(COUNT):
        place.image(number, np.full((32, 32), 9, np.uint16))
    done = place.train({"data.preprocess": [step], "data.split": {"val": 1, "test": 0}})
    assert done.code == 0, done.err
    assert "c3: image is constant: every pixel is 9" in done.err
    with (place.runs()[0] / "metrics.csv").open() as stream:
        losses = [float(row["train/loss"]) for row in csv.DictReader(stream) if row["train/loss"]]
    assert losses
    assert np.isfinite(losses).all()


def test_images_smaller_than_the_patch_are_padded_and_told(place: Place) -> None:
    small = cell(3, 24)
    place.image(3, small[0])
    place.label(3, small[1])
    done = place.train({"data.patch.size": [64, 64], "data.split": {"val": 1, "test": 0}})
    assert done.code == 0, done.err
    assert "training images are smaller than patch.size [64, 64]" in done.err
    assert "padded" in done.err


@pytest.mark.parametrize("verb", ["train", "check"])
def test_a_patch_that_the_net_cannot_take_names_sizes_that_fit(place: Place, verb: str) -> None:
    net = {"channels": [4, 8, 16], "strides": [2, 2]}
    place.config({"data.patch.size": [30, 30], "task.net.params": net})
    done = place.command(verb, "cells.yaml")
    done.refuses("data.patch.size", "net 'UNet' cannot take images of [30, 30]")
    done.refuses("Sizes that fit: [28, 28] or [32, 32]")
    assert "Sizes of tensors must match" not in done.err
    assert not place.runs()
    place.config({"data.patch.size": [28, 28], "task.net.params": net})
    assert place.command(verb, "cells.yaml").code == 0


# --- folders and globs ----------------------------------------------------------------------------


def source(**params: str) -> dict[str, object]:
    return {f"data.source.params.{key}": value for key, value in params.items()}


def double(place: Place) -> None:
    io.write(place.images / "c3.png", cell(3)[0])


FOLDERS: dict[str, tuple[Callable[[Place], object], dict[str, object], tuple[str, ...]]] = {
    "missing folder": (
        lambda place: None,
        source(root="nowhere"),
        ("nowhere' does not exist", "holds", "'data'", "Set 'root'"),
    ),
    "a file as the folder": (
        lambda place: None,
        source(root="cells.yaml"),
        ("cells.yaml' is a file, not a folder", "Set 'root'"),
    ),
    "no match": (
        lambda place: None,
        source(image="images/*.png"),
        ("no file matches", "'images/*.png'", "4 .tif", "glob that fits"),
    ),
    "two images of one name": (
        double,
        source(image="images/*"),
        ("c3.png", "c3.tif", "Narrow the glob"),
    ),
    "one image": (
        lambda place: [path.unlink() for path in place.folder.glob("data/*/c[123].tif")],
        {},
        ("data.split", "leaves nothing for training", "1 samples", "Give more images"),
    ),
    "splits that take all": (
        lambda place: None,
        {"data.split": {"val": 2, "test": 2}},
        ("data.split", "leaves nothing for training", "4 samples", "ask for less"),
    ),
    "groups of no column": (
        lambda place: None,
        {"data.split": {"val": 1, "group_by": "patient"}},
        ("data.split.group_by", "no column 'patient'", "'parent'"),
    ),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders_that_do_not_hold_what_is_asked(place: Place, kind: str) -> None:
    spoil, changes, words = FOLDERS[kind]
    spoil(place)
    place.train(changes).refuses(*words)
    assert not place.runs()


def test_a_windows_path_elsewhere_is_recognised(place: Place) -> None:
    done = place.train(source(root="C:\\Users\\me\\data"))
    done.refuses("does not exist", "path of Windows", "'/'")


def test_backslashes_in_globs_are_understood(place: Place) -> None:
    changes = source(image="images\\*.tif", target="labels\\*.tif")
    assert place.train(changes).code == 0


# --- tables ---------------------------------------------------------------------------------------


def table(lines: int = COUNT, split: str = "") -> str:
    head = "image,target" + (",split" if split else "")
    rows = [f"data/images/c{n}.tif,data/labels/c{n}.tif" for n in range(lines)]
    return "\n".join([head, *(f"{row},{split}" if split else row for row in rows)]) + "\n"


TABLES: dict[str, tuple[str | bytes | None, tuple[str, ...]]] = {
    "missing": (None, ("t.csv' does not exist",)),
    "empty": ("", ("t.csv' is empty", "header", "'image'")),
    "binary": (bytes(range(256)), ("t.csv' is not text in UTF-8",)),
    "without the column": (
        table().replace("image,", "img,"),
        ("no column 'image'", "'img'", "image:"),
    ),
    "with missing files": (table(6), ("images/c4.tif' does not exist", "c5.tif", "'root'")),
    "with an unknown split": (table(split="trian"), ("column 'split'", "'trian'", "train, val")),
    "with a line twice": (table() + table(1).partition("\n")[2], ("c0.tif' is listed 2 times",)),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_that_do_not_hold_what_is_asked(place: Place, kind: str) -> None:
    text, words = TABLES[kind]
    if text is not None:
        place.text(text, "t.csv")
    place.train({"data.source": {"name": "csv", "params": {"path": "t.csv"}}}).refuses(*words)
    assert not place.runs()


def test_a_splits_file_without_some_images_names_them(place: Place) -> None:
    place.text("id,split\nc0,train\nc1,val\n", "s.csv")
    done = place.train({"data.split": {"file": "s.csv"}})
    done.refuses("s.csv", "sample 'c2' has no split", "'c3'", "exclude")


# --- prediction -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("trained")
    place = Place(folder)
    run = folder / "run"
    place.config({"data.source.params.root": str(folder / "data")})
    assert main(["train", str(folder / "cells.yaml"), "--folder", str(run), "--quiet"]) == 0
    torch.manual_seed(0)
    return run


def test_good_images_among_bad_ones_are_predicted(place: Place, trained: Path) -> None:
    new = place.folder / "new"
    shutil.copytree(place.images, new)
    (new / "text.tif").write_text("no image")
    io.write(new / "nan.npy", with_pixels(np.nan))
    io.write(new / "stack.tif", np.ones((9, 32, 32), np.uint16), axes="ZYX")
    done = place.command("predict", trained, "new", "--output", "out")
    done.refuses("4 files were written to out", "text.tif", "is not a TIFF")
    done.refuses("nan.npy: image has 2 NaN", "stack.tif", "axes")
    assert sorted(path.name for path in (place.folder / "out").iterdir()) == [
        f"c{number}.tif" for number in range(COUNT)
    ]


def predict(place: Place, run: Path, *words: str) -> Done:
    return place.command("predict", run, *words)


def test_a_prediction_never_falls_on_its_input(place: Place, trained: Path) -> None:
    done = predict(place, trained, "data/images", "--output", "data/images")
    done.refuses("would overwrite this input", "--output", "c0.tif", "c3.tif")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("gone.tif", "--output", "out"), ("gone.tif: no such file",)),
        (("data/*.png", "--output", "out"), ("data/*.png: this pattern matches no image",)),
        (("empty", "--output", "out"), ("empty: this folder holds no images",)),
        (("data/images", "--output", "cells.yaml"), ("is a file", "Choose another --output")),
        (("data/images", "--output", "cells.yaml/out"), ("cells.yaml: is a file", "--output")),
        (("data/images", "--output", "out", "--format", ".jpg"), ("'.jpg'", ".png", ".ome.tif")),
        (("data/images", "--output", "out", "--axes", "QQ"), ("'QQ'", "YX")),
        (("data/images",), ("--output",)),
    ],
)
def test_what_cannot_be_predicted_or_written_is_told_before(
    place: Place, trained: Path, words: tuple[str, ...], told: tuple[str, ...]
) -> None:
    place.config()
    (place.folder / "empty").mkdir()
    predict(place, trained, *words).refuses(*told)
    assert not (place.folder / "out").exists()


def test_predicting_leaves_the_run_alone(place: Place, trained: Path) -> None:
    before = find_run(trained, place.folder).status
    assert predict(place, trained, "data/images/c0.tif", "--output", "out").code == 0
    assert find_run(trained, place.folder).status == before
