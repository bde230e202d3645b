"""Objects learnt as classes or distances of pixels: what is learnt, made and measured."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imtoolkit.config import load_config
from imtoolkit.config.sections import (
    BoundaryConfig,
    Component,
    DistanceConfig,
    EnhancementConfig,
    InferenceConfig,
    TaskConfig,
)
from imtoolkit.core.batch import Stage
from imtoolkit.core.errors import ConfigError
from imtoolkit.core.facts import DataFacts, TargetKind
from imtoolkit.inference.postprocess.base import Makes
from imtoolkit.labels.maps import distance_map, pixel_classes
from imtoolkit.tasks import build_task, target_spec
from imtoolkit.tasks.base import Task
from tests.helpers.discs import config_of, task_of
from tests.unit.inference.test_postprocess import discs

TINY = Component("UNet", {"channels": [4, 8], "strides": [2]})
CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def touching(dims: int) -> np.ndarray:
    """Two balls that touch, one by itself, and a tiny one."""
    middle = (12,) * (dims - 2)
    return discs(
        (24,) * (dims - 2) + (32, 48),
        ((*middle, 12, 10), 7),
        ((*middle, 12, 24), 7),
        ((*middle, 22, 40), 6),
        ((*middle, 28, 4), 2),
    )


def facts_of(dims: int) -> DataFacts:
    return DataFacts(dims, 1, patch_size=(16,) * dims)


def by_classes(dims: int = 2, boundary: float = 1.0, **fields: Any) -> Task:
    return task_of(
        facts_of(dims),
        nets={"net": TINY},
        instances=BoundaryConfig(boundary),
        **{"classes": [], **fields},
    )


def by_distance(dims: int = 2, inference: InferenceConfig | None = None, **fields: Any) -> Task:
    config = EnhancementConfig(
        "enhancement", {"net": TINY}, **{"instances": DistanceConfig(), **fields}
    )
    return build_task(config, inference or InferenceConfig(), facts_of(dims))


def one_hot(classes: np.ndarray, count: int) -> torch.Tensor:
    return (
        8
        * torch.nn.functional.one_hot(torch.from_numpy(classes).long(), count)
        .movedim(-1, 0)
        .float()
    )


def batch_for(labels: np.ndarray) -> dict[str, Any]:
    target = torch.from_numpy(labels)[None, None]
    return {"image": (target > 0).float(), "target": target, "id": ["a"]}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("boundary", [1.0, 2.0, 0.0])
def test_perfect_classes_give_the_objects_back(dims: int, boundary: float) -> None:
    truth = touching(dims)
    task = by_classes(dims, boundary)
    goal = task.goals["output"]
    learnt = goal.learnt(batch_for(truth))
    assert learnt is not None
    raw = one_hot(learnt[0, 0].numpy(), goal.out_channels)[None]
    result = task.postprocess(raw)
    row = goal.measure(task.metrics(Stage.VAL), raw, result, batch_for(truth))
    assert goal.makes is Makes.INSTANCES
    assert row["ap/50"] == 1.0
    assert row["foreground_dice"] == 1.0
    assert row["objects/true"] == row["objects/predicted"] == 4


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("normalize", [True, False])
def test_perfect_distances_give_the_objects_back(dims: int, normalize: bool) -> None:
    truth = touching(dims)
    task = by_distance(dims, instances=DistanceConfig(normalize))
    goal = task.goals["output"]
    raw = goal.learnt(batch_for(truth))
    assert isinstance(raw, torch.Tensor)
    assert np.array_equal(raw[0, 0], distance_map(truth, normalize=normalize))
    result = task.postprocess(raw)
    row = goal.measure(task.metrics(Stage.VAL), raw, result, batch_for(truth))
    assert row["ap/50"] == 1.0
    assert row["foreground_dice"] > 0.99


def test_maps_of_the_loader_are_taken_where_there_are() -> None:
    truth = touching(2)
    task = by_classes()
    made = torch.from_numpy(pixel_classes(truth, 1.0))[None, None]
    batch = batch_for(truth)
    learnt = task.goals["output"].learnt(batch)
    assert torch.equal(learnt, made)  # type: ignore[arg-type]
    own = torch.zeros_like(made)
    assert task.goals["output"].learnt({**batch, "pixel_classes": own}) is own
    assert by_distance().goals["output"].learnt({**batch, "distance": own}) is own


def test_losses_see_classes_and_metrics_see_objects() -> None:
    truth = touching(2)[:, :32]
    task = by_classes(class_weights=[1.0, 1.0, 3.0])
    task.train()
    output = task.step(batch_for(truth), Stage.TRAIN)
    assert output.loss is not None
    output.loss.backward()
    assert torch.isfinite(output.loss)
    assert task.main_metric == "val/ap/50"
    weight = torch.zeros(1, 1, 32, 32)
    blind = task.step({**batch_for(truth), "weight": weight}, Stage.TRAIN)
    assert blind.loss is not None
    assert blind.loss < output.loss  # nothing counts


@pytest.mark.parametrize(
    ("config", "maps"),
    [
        (config_of(instances=BoundaryConfig(2.0)), {"pixel_classes": {"width": 2.0}}),
        (config_of(instances=BoundaryConfig(0.0)), {}),
        (
            EnhancementConfig("enhancement", instances=DistanceConfig(normalize=False)),
            {"distance": {"normalize": False}},
        ),
        (
            EnhancementConfig("enhancement", instances=DistanceConfig(normalize=True)),
            {"distance": {"normalize": True, "spacing": "image"}},
        ),
    ],
)
def test_the_data_are_asked_for_objects_and_their_maps(
    config: TaskConfig, maps: dict[str, Any]
) -> None:
    spec = target_spec(config)
    assert spec.kind is TargetKind.INSTANCES
    assert spec.classes == ()
    assert {item.name: item.params for item in spec.maps} == maps


def test_names_of_classes_are_filled_in_or_those_of_the_user() -> None:
    assert by_classes().goals["output"].classes == ("background", "inside", "boundary")
    assert by_classes(boundary=0).goals["output"].classes == ("background", "inside")
    named = by_classes(classes=["no", "cell", "rim"])
    truth = touching(2)
    raw = one_hot(pixel_classes(truth), 3)
    assert named.postprocess(raw).max() == 4
    with pytest.raises(ConfigError, match="expected names for background, inside, boundary"):
        by_classes(classes=["no", "cell"])


def test_other_metrics_and_chains_that_make_no_objects_are_refused() -> None:
    with pytest.raises(ConfigError, match="metric 'dice' measures no objects"):
        by_classes(metrics=[Component("dice")]).metrics(Stage.VAL)
    none = InferenceConfig(postprocess=[])
    with pytest.raises(ConfigError, match="the truth is objects: end with connected_components"):
        task_of(facts_of(2), none, nets={"net": TINY}, classes=[], instances=BoundaryConfig())
    with pytest.raises(ConfigError, match="the truth is objects: end with watershed"):
        by_distance(inference=none)


def test_the_presets_write_out_the_usual_steps() -> None:
    for name, task in (
        ("segmentation/instances_2d", by_classes()),
        ("enhancement/distances_2d", by_distance()),
    ):
        config = load_config(CONFIGS / f"{name}.yaml")
        assert config.inference.postprocess == task.goals["output"].default_steps()
