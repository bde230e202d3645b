"""Nets that take more than the image: tabular columns in training, validation and prediction."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imtoolkit.config.sections import Component, InferenceConfig
from imtoolkit.core.batch import Stage
from imtoolkit.core.errors import ConfigError, DataError
from imtoolkit.core.facts import DataFacts
from imtoolkit.tasks.tiling import check_inputs
from tests.helpers.discs import trainer_of
from tests.helpers.tasks import alone, make

FACTS = DataFacts(2, 1, patch_size=(16, 16), tabular=("age", "sex=f"))
NET = Component(
    "composed",
    {
        "backbone": {"name": "resnet", "params": {"depth": 18}},
        "post": {"name": "global_pool", "params": {"tabular": True}},
    },
)
UNET = Component("UNet", {"channels": [4, 8], "strides": [2]})


class Shifted(nn.Module):
    """Adds the first tabular column to every pixel."""

    inputs = ("image", "tabular")

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, image: Tensor, tabular: Tensor) -> Tensor:
        return self.scale * image + tabular[:, :1, None, None]


def test_a_classifier_reads_the_table_beside_the_image() -> None:
    task = make("classification", FACTS, classes=["a", "b"], nets={"net": NET})
    batch: dict[str, Any] = {
        "image": torch.rand(2, 1, 16, 16),
        "tabular": torch.tensor([[0.5, 1.0], [-2.0, 0.0]]),
        "target": torch.tensor([0, 1]),
        "id": ["x", "y"],
        "dataset": ["main", "main"],
    }
    task.train()
    task.step(batch, Stage.TRAIN).loss.backward()
    trained = [name for name, w in task.named_parameters() if w.grad is not None and w.grad.any()]
    assert any("table" in name for name in trained)
    trainer_of().validate(task, alone(batch), verbose=False)
    row = task.rows[Stage.VAL][1]
    found = task.predict_image(batch["image"][1], tabular=batch["tabular"][1])
    assert row["probability/a"] == pytest.approx(float(found.softmax(0)[0]), rel=1e-4)
    other = task.predict_image(batch["image"][1], tabular=torch.tensor([[3.0, 1.0]]))
    assert not torch.equal(found, other)
    with pytest.raises(DataError, match="takes 'tabular' beside the image"):
        task.predict_image(batch["image"][1])


def test_the_table_of_an_image_serves_all_its_tiles() -> None:
    plain = DataFacts(2, 1, patch_size=(16, 16))
    tiles = InferenceConfig(tile=[16, 16], batch_size=3)
    task = make("enhancement", plain, tiles, nets={"net": UNET})
    task.nets["net"] = Shifted()
    image = torch.rand(1, 40, 37)
    found = task.predict_image(image, tabular=torch.tensor([2.0, 9.0]))
    torch.testing.assert_close(found, image + 2.0)


def test_nets_and_tables_must_agree() -> None:
    plain = DataFacts(2, 1, patch_size=(16, 16))
    with pytest.raises(ConfigError, match=r"^task\.net: net 'Shifted' takes tabular columns"):
        check_inputs(Shifted(), plain, where="task.net")
    with pytest.raises(ConfigError, match=r"^data\.tabular: net 'UNet' .*'age', 'sex=f'"):
        make("enhancement", FACTS, nets={"net": UNET})
    check_inputs(Shifted(), FACTS, where="task.net")
