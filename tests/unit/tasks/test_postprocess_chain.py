"""The chain of a goal: the same results everywhere, in physical units, checked when it is built."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from imtoolkit.config.sections import Component, EnhancementConfig, InferenceConfig
from imtoolkit.core.batch import SPACING, Stage
from imtoolkit.core.errors import ConfigError, DataError
from imtoolkit.core.facts import DataFacts
from imtoolkit.inference.postprocess.base import Makes
from imtoolkit.tasks import build_task
from imtoolkit.tasks.base import Task
from tests.helpers.discs import FACTS, UNET, batch_of, task_of

TINY = Component("UNet", {"channels": [4, 8], "strides": [2]})


def steps(*given: Any) -> InferenceConfig:
    made = [Component(*item) if isinstance(item, tuple) else Component(item) for item in given]
    return InferenceConfig(postprocess=made)


def enhancing(*given: Any, facts: DataFacts = FACTS, **fields: Any) -> Task:
    config = EnhancementConfig(category="enhancement", nets={"net": TINY}, **fields)
    return build_task(config, steps(*given), facts)


def logits(*chances: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.log(np.stack(chances).clip(1e-6))).float()


def test_without_steps_the_most_probable_class_stays() -> None:
    raw = torch.randn(2, 2, 8, 8)
    for inference in (InferenceConfig(), InferenceConfig(postprocess=[])):
        task = task_of(inference=inference)
        assert torch.equal(task.postprocess(raw), raw.argmax(1))
        assert torch.equal(task.postprocess(raw[0]), raw[0].argmax(0))


def test_steps_read_the_probability_of_a_class_by_its_name() -> None:
    chance = np.random.default_rng(0).random((32, 32)).astype(np.float32)
    raw = logits(1 - chance, chance)
    task = task_of(
        inference=steps(
            ("threshold", {"of": "nucleus", "value": 0.3}), ("remove_small", {"size": 12})
        )
    )
    parts = ndimage.label(chance > 0.3)[0]
    large = np.flatnonzero(np.bincount(parts.ravel()) >= 12)
    expected = np.isin(parts, large[large > 0])
    for one in (task.postprocess(raw), task.postprocess(raw[None])[0]):
        assert not one.is_floating_point()
        assert np.array_equal(one.numpy(), expected)


def test_the_order_of_steps_counts() -> None:
    ring = np.zeros((32, 32), np.float32)
    ring[8:20, 8:20] = 0.9
    ring[10:18, 10:18] = 0.1
    raw = logits(1 - ring, ring)
    small, fill = ("remove_small", {"size": 100}), "fill_holes"
    assert task_of(inference=steps(small, fill)).postprocess(raw).sum() == 0
    assert task_of(inference=steps(fill, small)).postprocess(raw).sum() == 144


def test_class_map_knows_the_classes() -> None:
    chances = np.random.default_rng(1).dirichlet(np.ones(3), (16, 16)).transpose(2, 0, 1)
    task = task_of(
        inference=steps(("class_map", {"mapping": {"edge": "inside"}})),
        classes=["background", "inside", "edge"],
    )
    assert np.array_equal(task.postprocess(logits(*chances)).numpy(), chances.argmax(0) > 0)
    with pytest.raises(ConfigError, match=r"no class 'egde'.*Did you mean 'edge'"):
        task_of(
            inference=steps(("class_map", {"mapping": {"egde": "inside"}})),
            classes=["background", "inside", "edge"],
        )


def test_sizes_follow_the_pixel_size_of_each_image() -> None:
    square = np.zeros((32, 32), np.float32)
    square[4:14, 4:14] = 1
    raw = logits(1 - square, square)[None].expand(3, -1, -1, -1)
    task = task_of(inference=steps(("remove_small", {"size": 50, "unit": "physical"})))
    spacing = torch.tensor([[1.0, 1.0], [0.5, 0.5], [2.0, 0.3]])
    found = task.postprocess(raw, spacing)
    assert found.flatten(1).sum(1).tolist() == [100, 0, 100]
    assert task.postprocess(raw[0], (0.5, 0.5)).sum() == 0
    with pytest.raises(DataError, match="the pixel size of this image is not known"):
        task.postprocess(raw[0], torch.tensor([torch.nan, torch.nan]))


def test_evaluation_measures_what_the_chain_makes() -> None:
    task = task_of(inference=steps(("remove_small", {"size": 10**6})))
    batch = batch_of(1)
    output = task.step(batch, Stage.VAL)
    result = task.prediction_of(output, batch[SPACING])
    assert isinstance(result, torch.Tensor)
    assert result.sum() == 0
    assert task.measure(output, result, batch, Stage.VAL)["dice"] == 0


def test_images_are_measured_before_they_become_objects() -> None:
    plain, objects = enhancing(), enhancing(("threshold", {"value": 0.5}), "connected_components")
    batch = batch_of(1)
    batch["target"] = batch["image"].clone()
    for task in (plain, objects):
        task.nets.load_state_dict(plain.nets.state_dict())
        task.eval()
    rows = []
    for task in (plain, objects):
        output = task.step(batch, Stage.VAL)
        result = task.prediction_of(output, None)
        rows.append(task.measure(output, result, batch, Stage.VAL))
    assert rows[0] == rows[1]
    assert objects.goals["output"].makes is Makes.INSTANCES
    assert objects.goals["output"].instances
    assert isinstance(result, torch.Tensor)
    assert result.shape == (1, 32, 32)
    assert not result.is_floating_point()


def test_a_map_stays_an_image_with_its_channel() -> None:
    task = enhancing(("smooth", {"sigma": 2.0}))
    raw = torch.rand(2, 1, 20, 20)
    found = task.postprocess(raw)
    assert found.shape == raw.shape
    expected = ndimage.gaussian_filter(raw[1, 0].numpy(), 2.0)
    np.testing.assert_allclose(found[1, 0], expected, rtol=1e-5)
    several = enhancing(
        ("smooth", {"sigma": 2.0, "of": "1"}),
        facts=DataFacts(2, 1, target_channels=2, patch_size=(32, 32)),
    )
    raw = torch.rand(2, 20, 20)
    expected = ndimage.gaussian_filter(raw[1].numpy(), 2.0)
    np.testing.assert_allclose(several.postprocess(raw)[0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "facts", "said"),
    [
        ([("threshold", {"value": 0.5, "of": "nuclei"})], FACTS, "Did you mean 'nucleus'"),
        ([("threshold", {"value": 0.5})], FACTS, "'result' is class numbers there"),
        ([("threshold", {"of": "nucleus"})], FACTS, "neither of 'value' and 'method'"),
        (["connected_components"], FACTS, "set task.instances"),
        ([("class_map", {"mapping": {"nucleus": 9}})], FACTS, "make the class number 9"),
        ([("class_map", {"mapping": {"nucleus": -1}})], FACTS, "make the class number -1"),
        (
            [
                ("threshold", {"of": "nucleus", "value": 0.5}),
                ("merge_classes", {"maps": ["result", "result"]}),
                "fill_holes",
            ],
            FACTS,
            "make the class number 2, and the classes are 0 to 1 (background, nucleus)",
        ),
        ([("smooth", {"of": "nucleus", "sigma": 1})], FACTS, "end with threshold or class_map"),
        (
            [("thin", {"iterations": 2})],
            DataFacts(3, 1, patch_size=(16, 16, 16)),
            "in 3D objects are thinned to their skeleton alone",
        ),
        (
            [("remove_small", {"size": 2, "unit": "physical"})],
            DataFacts(2, 1, patch_size=(32, 32), samples={"train": 3}),
            "the files tell no pixel size: unit: pixels",
        ),
    ],
)
def test_a_chain_that_does_not_fit_is_told_before_training(
    given: list[Any], facts: DataFacts, said: str
) -> None:
    with pytest.raises(ConfigError, match=r"inference\.postprocess") as caught:
        task_of(facts, steps(*given), nets={"net": UNET})
    assert said in str(caught.value)
