"""Pictures of evaluated images: objects are told from classes by the goal, and not by guessing."""

from types import SimpleNamespace
from typing import Any

import torch

from imtoolkit.callbacks.evaluated import evaluated
from imtoolkit.callbacks.pictures import row_of
from imtoolkit.core.batch import Stage


def batch_of(labels: torch.Tensor, **more: Any) -> dict[str, Any]:
    image = torch.zeros(1, 1, *labels.shape)
    return {"image": image, "target": labels[None, None], "id": ["a"], "dataset": ["x"], **more}


def task_of(instances: bool) -> Any:
    goal = SimpleNamespace(
        key="target",
        dense=True,
        labels=True,
        classes=("background", "cell"),
        instances=instances,
        main_metric="ap/50" if instances else "dice",
        target_of=lambda batch: batch["target"],
    )
    return SimpleNamespace(goals={"output": goal}, rows={Stage.VAL: [{"ap/50": 0.5, "dice": 0.75}]})


def test_objects_come_with_what_is_ignored_and_without_classes() -> None:
    labels = torch.tensor([[1, 1, 0, 2]])
    weight = torch.tensor([[[[1.0, 1.0, 0.5, 0.0]]]])
    batch, outputs = batch_of(labels, weight=weight), {"prediction": [labels]}
    (one,) = evaluated(batch, outputs, task_of(instances=True), Stage.VAL)
    row = row_of(one)
    assert row["instances"] is True
    assert row["ignored"].tolist() == [[False, False, False, True]]
    assert row["scores"] == {"ap/50": 0.5}
    assert one.heads[0].classes == ()
    (one,) = evaluated(batch_of(labels), outputs, task_of(instances=True), Stage.VAL)
    assert "ignored" not in row_of(one)


def test_classes_are_no_objects_however_many_labels_there_are() -> None:
    labels = torch.arange(6)[None]
    (one,) = evaluated(batch_of(labels), {"prediction": [labels]}, task_of(False), Stage.VAL)
    assert one.heads[0].classes == ("background", "cell")
    row = row_of(one)
    assert row["instances"] is False
    assert row["scores"] == {"dice": 0.75}
