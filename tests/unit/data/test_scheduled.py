"""Random transforms whose numbers change with the epochs, in every process alike."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from imtoolkit.config.sections import Component, PatchConfig
from imtoolkit.core.errors import ComponentError, ConfigError
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.core.schedules import Constant, Linear, NumberSchedule, Steps
from imtoolkit.data.datamodule import ImageDataModule
from imtoolkit.data.patches import PatchDataset
from imtoolkit.data.samplers import Visit
from imtoolkit.data.scheduled import components_at
from tests.helpers.images import NUCLEI, section, write_images

DOUBLE = Component("RandScaleIntensityd", {"keys": "image", "factors": [1.0, 1.0], "prob": 0.0})
NOISE = Component("RandGaussianNoised", {"keys": "image", "prob": 1.0, "std": 0.5})


def _patches(
    root: Path, schedules: dict[str, NumberSchedule], target: TargetSpec = NUCLEI, **changes: Any
) -> PatchDataset:
    changes = {"augment": [], "patch": PatchConfig([16, 16], 1), **changes}
    data = ImageDataModule(section(root, **changes), target, schedules=schedules)
    data.prepare_data()
    return data._patches(data._images["train"])


def _factor(patches: PatchDataset, epoch: int) -> float:
    visit = Visit(epoch, 0, 0)
    plain = PatchDataset(patches.images, patches.labelling, patches.patch, seed=patches.seed)
    return float(torch.as_tensor(patches[visit]["image"]).mean() / plain[visit]["image"].mean())


def test_a_probability_holds_for_the_epoch_of_the_visit(tmp_path: Path) -> None:
    schedule = {"data.augment.0.params.prob": Steps([0.0, 1.0], milestones=[2])}
    patches = _patches(write_images(tmp_path), schedule, augment=[DOUBLE])
    assert [_factor(patches, epoch) for epoch in (0, 1, 2, 3)] == pytest.approx([1, 1, 2, 2])
    assert _factor(patches, 1) == pytest.approx(1)  # a resumed run may ask for any epoch


def test_an_entry_of_a_list_changes(tmp_path: Path) -> None:
    always = Component("RandScaleIntensityd", {**DOUBLE.params, "prob": 1.0})
    schedule: dict[str, NumberSchedule] = {
        f"data.augment.0.params.factors.{entry}": Linear(0.0, 2.0, epochs=4) for entry in (0, 1)
    }
    patches = _patches(write_images(tmp_path), schedule, augment=[always])
    assert [_factor(patches, epoch) for epoch in (0, 1, 4)] == pytest.approx([1.0, 1.5, 3.0])


def test_another_process_has_the_same_numbers(tmp_path: Path) -> None:
    schedule = {"data.augment.0.params.std": Linear(0.0, 1.0, epochs=2)}
    patches = _patches(write_images(tmp_path), schedule, augment=[NOISE])
    wanted = [patches[Visit(epoch, 1, 0)]["image"] for epoch in (0, 1)]
    other = pickle.loads(pickle.dumps(patches))
    found = [other[Visit(epoch, 1, 0)]["image"] for epoch in (1, 0)]
    assert all(map(torch.equal, wanted, reversed(found)))
    assert not torch.equal(*wanted)


def test_only_training_patches_are_degraded_by_the_number_of_the_epoch(tmp_path: Path) -> None:
    schedule = {"data.degrade.0.params.std": Steps([0.0, 5.0], milestones=[1])}
    root = write_images(tmp_path)
    source = section(root).sources["data"].source
    images = Component("folder", {**source.params, "target": None})
    sources = {"data": type(section(root).sources["data"])(images)}
    patches = _patches(
        root,
        schedule,
        TargetSpec(TargetKind.IMAGE),
        sources=sources,
        preprocess=[],
        degrade=[Component("RandGaussianNoised", {**NOISE.params, "sample_std": False})],
    )
    whole = patches.degrade
    for epoch, noise in ((0, 0.0), (1, 5.0)):
        sample = patches[Visit(epoch, 0, 0)]
        spread = (sample["image"] - torch.tensor(sample["target"])).std()
        assert float(spread) == pytest.approx(noise, rel=0.2, abs=1e-6)
    assert whole.components[0].params["std"] == 0.5


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("data.augment.1.params.prob", "there are 1 transforms, counted from 0"),
        ("data.augment.0.prob", "leads to no parameter"),
        ("data.augment.0.params.factors.7", "there is no '7'. There is '0', '1'"),
        ("data.augment.0.params.inner.prob", "there is no 'inner'"),
    ],
)
def test_a_key_that_leads_to_nothing_is_an_error(key: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        components_at([DOUBLE], {key: Constant(1.0)}, 0)
    assert caught.value.problems[0].where == f"trainer.schedules.{key}"


def test_a_number_that_the_transform_refuses_is_told_before_training(tmp_path: Path) -> None:
    flips = Component("RandFlipd", {"keys": "image", "prob": 0.5})
    schedule = {"data.augment.0.params.probb": Constant(0.5)}
    with pytest.raises(ComponentError, match=r"refused its parameters.*probb"):
        _patches(write_images(tmp_path), schedule, augment=[flips])


def test_what_is_whole_stays_whole() -> None:
    component = Component("RandRotate90d", {"keys": "image", "max_k": 3})
    found = components_at([component], {"data.augment.0.params.max_k": Constant(1.6)}, 0)
    assert found[0].params["max_k"] == 2
    assert component.params["max_k"] == 3
