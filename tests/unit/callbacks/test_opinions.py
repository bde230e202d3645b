"""Pictures of images of which there are several segmentations."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from imtoolkit.callbacks.evaluated import Evaluated, evaluated
from imtoolkit.callbacks.opinions import has_opinions, opinions_row
from imtoolkit.callbacks.pictures import Shown
from imtoolkit.core.batch import Stage
from imtoolkit.figures.grid import grid_figure
from tests.unit.tasks.test_probabilistic_unet_task import batch_of, task_of


def one(*size: int, readers: int = 2) -> Evaluated:
    """Return an image of which half of the readers mark the right half, and all samples do."""
    marks = torch.zeros(readers, *size, dtype=torch.uint8)
    marks[::2, ..., size[-1] // 2 :] = 1
    samples = torch.zeros(5, *size, dtype=torch.uint8)
    samples[..., size[-1] // 2 :] = 1
    chances = torch.full((2, *size), 0.5)
    chances[0, ..., : size[-1] // 2] = 1.0
    chances[1, ..., : size[-1] // 2] = 0.0
    beside = {"samples": samples, "probabilities": chances, "annotations": marks}
    return Evaluated("cell", torch.rand(1, *size), (), {"ged": 0.25}, beside=beside)


@pytest.mark.parametrize("size", [(8, 12), (4, 8, 12)])
def test_the_panels_tell_what_readers_and_samples_mark(size: tuple[int, ...]) -> None:
    row = {panel.heading: panel for panel in opinions_row(one(*size))}
    assert list(row) == [
        *("image", "2 annotations", "5 samples", "entropy"),
        *("sample 1", "sample 2", "sample 3"),
    ]
    assert all(panel.pixels.shape == (1, 8, 12) for panel in row.values())
    assert row["2 annotations"].pixels[0, 0].tolist() == [0.0] * 6 + [0.5] * 6
    assert row["5 samples"].pixels[0, 0].tolist() == [0.0] * 6 + [1.0] * 6
    assert row["5 samples"].caption == "ged 0.250"
    np.testing.assert_allclose(row["entropy"].pixels[0, 0], [0.0] * 6 + [math.log(2)] * 6)
    figure = grid_figure([list(row.values())])
    assert len(figure.axes) == 7


def test_half_of_the_readers_are_drawn_as_half_bright() -> None:
    row = {panel.heading: panel for panel in opinions_row(one(8, 12))}
    figure = grid_figure([[row["2 annotations"]]])
    drawn = figure.axes[0].images[0].get_array()
    assert drawn is not None
    assert float(drawn[0, 8, 0]) == pytest.approx(0.5, abs=0.01)
    assert float(drawn[0, 0, 0]) == pytest.approx(0.0, abs=0.01)


def test_an_evaluated_batch_tells_samples_and_all_readers(tmp_path: Path) -> None:
    task, batch = task_of(), batch_of(2, readers=3)
    with torch.no_grad():
        task.rows[Stage.TEST] = []
        outputs = task._evaluate(batch, 0, Stage.TEST)
    found = list(evaluated(batch, outputs, task, Stage.TEST))
    assert all(has_opinions(each) for each in found)
    assert found[1].beside["samples"].shape == (6, 32, 32)
    assert torch.equal(found[1].beside["annotations"], batch["target"][1])
    shown = Shown(2)
    shown.add(outputs, batch, task, Stage.TEST)
    shown.draw(tmp_path / "examples.png", ("background", "disc"))
    assert (tmp_path / "examples.png").stat().st_size > 5000
