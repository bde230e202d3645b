"""Files and pictures of evaluated images, made of the predictions that were measured."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imtoolkit import io
from imtoolkit.callbacks.evaluated import Evaluated, EvaluatedHead
from imtoolkit.callbacks.pictures import Pictures, TestPictures, notes_of, row_of
from imtoolkit.callbacks.predictions import SavePredictions, place_of
from imtoolkit.config.sections import InferenceConfig
from tests.helpers.discs import FACTS, Discs, loader, task_of, trainer_of

IDS = ("a/b", "a_b", "a:b", "../c")


class Named(Discs):
    """Discs with awkward ids and, for the first, a pixel size."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        size = 0.5 if index == 0 else torch.nan
        return {**super().__getitem__(index), "id": IDS[index], "spacing": torch.full((2,), size)}


@pytest.mark.parametrize("batch_size", [1, 3])
def test_each_evaluated_image_has_a_file_of_its_own_below_the_folder(
    tmp_path: Path, batch_size: int
) -> None:
    task, images, folder = task_of(), Named(4), tmp_path / "predictions"
    trainer = trainer_of(callbacks=[SavePredictions(folder)])
    trainer.test(task, loader(images, batch_size), verbose=False)
    names = ["a/b.ome.tif", "a_b.ome.tif", "a%3Ab.ome.tif", "%2E%2E/c.ome.tif"]
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(written) == sorted(folder / name for name in names)
    for index, name in enumerate(names):
        expected = task.postprocess(task.predict_image(images[index]["image"]))
        found = io.read(folder / name)
        np.testing.assert_array_equal(found.pixels[0], expected.numpy())
        assert found.spacing == ((0.5, 0.5) if index == 0 else None)


def test_no_two_ids_share_a_file() -> None:
    ids = ["a", "a/b", "a_b", "a b", "a%b", "a%25b", "a:b", "a\\b", ".a", ".", "..", "/a", "%/a"]
    places = [place_of(name) for name in ids]
    assert len(set(places)) == len(ids)
    assert not any(place.is_absolute() or ".." in place.parts for place in places)


def test_pictures_and_files_need_no_second_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inference = InferenceConfig(flips=True, overlap=0.5)
    task = task_of(FACTS, inference)
    seen: list[torch.Tensor] = []
    applied = task.apply_net
    monkeypatch.setattr(task, "apply_net", lambda image: seen.append(image) or applied(image))
    trainer_of().test(task, loader(Discs(3)), verbose=False)
    alone = len(seen)
    callbacks = [SavePredictions(tmp_path / "files"), TestPictures(tmp_path, count=2)]
    trainer_of(callbacks=callbacks).test(task, loader(Discs(3)), verbose=False)
    assert alone > 0
    assert len(seen) == 2 * alone
    assert len(list((tmp_path / "files").iterdir())) == 3
    assert (tmp_path / "examples.png").stat().st_size > 0


def test_a_picture_holds_the_first_images_and_what_was_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[dict[str, Any]]] = []
    monkeypatch.setattr(
        "imtoolkit.callbacks.pictures._draw", lambda rows, classes, path: drawn.append(rows)
    )
    task, images = task_of(), Discs(5)
    pictures = Pictures(tmp_path, every_epochs=1, count=3)
    trainer = trainer_of(callbacks=[pictures], max_epochs=1)
    trainer.fit(task, loader(Discs(2), 2), loader(images, 2))
    (rows,) = drawn
    assert [row["id"] for row in rows] == ["000", "001", "002"]
    for index, row in enumerate(rows):
        expected = task.postprocess(task.predict_image(images[index]["image"]))
        np.testing.assert_array_equal(row["prediction"], expected.numpy())
        np.testing.assert_array_equal(row["target"], images[index]["target"][0].numpy())
        assert row["image"].shape == (1, 32, 32)


def head(name: str = "") -> EvaluatedHead:
    return EvaluatedHead(name, False, torch.zeros(1))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            {"target": "a", "predicted": "a", "probability/a": 0.9},
            ("target: a, prediction: a (0.90)", True),
        ),
        (
            {"target": None, "predicted": "a", "probability/a": 0.9},
            ("prediction: a (0.90)", None),
        ),
        (
            {"target/a": 1.0, "target/b": 0.0, "predicted/a": 1, "predicted/b": 1}
            | {"probability/a": 0.9, "probability/b": 0.8},
            ("target: a, prediction: a, b", False),
        ),
        (
            {"target/a": math.nan, "predicted/a": 0, "probability/a": 0.1},
            ("prediction: none", None),
        ),
        ({"target": 1.5, "predicted": 1.25}, ("target: 1.5, prediction: 1.25", None)),
        ({"target": math.nan, "predicted": 1.25}, ("prediction: 1.25", None)),
    ],
)
def test_what_is_said_of_a_whole_image_is_put_in_words(row, expected) -> None:
    assert notes_of(head(), row) == [expected]


def test_notes_of_heads_have_their_names() -> None:
    row = {"kind/target": "a", "kind/predicted": "b", "kind/probability/b": 0.5}
    row |= {"size/target/x": 1.0, "size/predicted/x": 2.0}
    assert notes_of(head("kind"), row) == [("kind: a, predicted b (0.50)", False)]
    assert notes_of(head("size"), row) == [("size x: 1, predicted 2", None)]


def test_the_magnitude_of_complex_images_is_shown() -> None:
    pair = torch.stack([torch.full((4, 4), 3.0), torch.full((4, 4), 4.0)])
    heads = (EvaluatedHead("", True, pair, pair, (), is_complex=True, metric="psnr"),)
    row = row_of(Evaluated("a", pair, heads, {"psnr": 20.0}))
    assert (row["image"].shape, row["scores"]) == ((1, 4, 4), {"psnr": 20.0})
    assert (row["prediction"] == 5).all()
    assert (row["target"] == 5).all()
