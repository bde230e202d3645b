"""One chain of post-processing: the same objects from predict, evaluate, files and an ensemble."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import imtoolkit as imt
from imtoolkit import io
from imtoolkit.callbacks.evaluated import evaluated
from imtoolkit.core.batch import Stage
from imtoolkit.runs import Run
from imtoolkit.trainer.predictor import Predictor
from tests.helpers.categories import merged, objects_of, write_discs
from tests.helpers.command import Place

SPACING = (0.5, 0.5)
PHYSICAL = [
    {"name": "threshold", "params": {"of": "inside", "value": 0.2}},
    "connected_components",
    # 3 square micrometres are 12 pixels
    {"name": "remove_small", "params": {"size": 3.0, "unit": "physical"}},
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """Return a run that makes objects by sizes in micrometres, and its folder of images."""
    root = write_discs(tmp_path_factory.mktemp("discs"), test=3)
    for path in root.glob("*.tif"):  # the files tell their pixel size
        picture = io.read(path)
        axes = picture.axes.removeprefix("C")
        io.write(path, picture.pixels[0], spacing=SPACING, unit="micrometer", axes=axes)
    raw = objects_of(
        "segmentation",
        trainer={"max_epochs": 8, "pictures": {"count": 2}},
        inference={"postprocess": PHYSICAL, "checkpoint": "last"},
        evaluation={"save_predictions": True, "splits": []},
    )
    params = {"path": str(root / "discs.csv"), "target": "mask"}
    raw = merged(raw, {"data": {"source": {"name": "csv", "params": params}}})
    return imt.train(imt.load_config(raw), path=root / "run", quiet=True), root


@pytest.mark.slow
def test_predict_evaluate_pictures_and_ensembles_make_the_same_objects(
    trained: tuple[Run, Path], tmp_path: Path
) -> None:
    run, root = trained
    scores = imt.evaluate(run, split="test", quiet=True)
    rows = scores.per_image.set_index("id")
    assert rows["objects/predicted"].sum() > 0
    predictor = Predictor(run)
    for name, row in rows.iterrows():
        file = root / f"{name}_noisy.tif"
        image = io.read(file).pixels[0]
        labels = imt.predict(run, image, spacing=SPACING)
        (written,) = imt.predict(run, [file], output=tmp_path / str(name))
        saved = io.read(run.path / "predictions" / "test" / f"{name}.ome.tif")
        together = imt.predict([run, run], image, spacing=SPACING)
        for other in (io.read(written).pixels[0], saved.pixels[0], together):
            assert np.array_equal(other, labels)
        sizes = np.bincount(labels.ravel())[1:]
        assert len(sizes) == row["objects/predicted"]
        assert sizes.min(initial=12) >= 12
    task = predictor.task
    pixels = torch.from_numpy(image)[None, None].float()
    batch = {"image": pixels, "id": ["x"], "spacing": torch.tensor([SPACING])}
    task.rows[Stage.TEST] = []
    with torch.inference_mode():
        outputs = task.test_step(batch, 0)
    (shown,) = evaluated(batch, outputs, task, Stage.TEST)
    assert shown.heads[0].instances
    assert shown.heads[0].classes == ()


@pytest.mark.slow
def test_an_image_without_a_pixel_size_is_told(trained: tuple[Run, Path], tmp_path: Path) -> None:
    run, _ = trained
    with pytest.raises(imt.ImtoolkitError, match="the pixel size of this image is not known"):
        imt.predict(run, np.zeros((32, 32), np.float32))


def test_objects_for_classes_are_refused_on_the_command_line(
    place: Place,
) -> None:
    done = place.train({"inference.postprocess": ["connected_components"]})
    done.refuses("the steps end with objects", "task.instances", "connected_components in data")
    assert place.runs() == []
