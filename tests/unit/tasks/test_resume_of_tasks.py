"""Every category goes on bit for bit where it was cut, dropout and hidden pixels included."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from imtoolkit.config.sections import Component, LossTerm
from tests.helpers.discs import loader, trainer_of, weights_of
from tests.helpers.tasks import Bars, make
from tests.unit.tasks.test_multitask_task import Labelled
from tests.unit.tasks.test_multitask_task import task_of as multitask
from tests.unit.tasks.test_regression_task import FACTS as NUMBERS

UNET = {"net": Component("UNet", {"channels": [4, 8], "strides": [2], "dropout": 0.5})}
DENSE = {"init_features": 4, "growth_rate": 4, "block_config": [2], "dropout_prob": 0.5}
DENSENET = {"net": Component("DenseNet", DENSE)}
MSE = {"mse": LossTerm("MSELoss")}
CASES: dict[str, Any] = {
    "classification": lambda: make("classification", classes=["a", "b"], nets=DENSENET),
    "regression": lambda: make("regression", NUMBERS, nets=DENSENET),
    "enhancement": lambda: make("enhancement", losses=MSE, nets=UNET),
    "noise2void": lambda: make("noise2void", losses=MSE, nets=UNET),
    "multitask": multitask,
}
TARGETS = {"classification": "class", "regression": "number", "enhancement": "image"}


@pytest.mark.parametrize("category", CASES)
def test_a_resumed_run_ends_with_the_same_weights(category: str, tmp_path: Path) -> None:
    images = Labelled(6) if category == "multitask" else Bars(6, target=TARGETS.get(category))

    def fit(checkpoint: Path | None = None) -> torch.nn.Module:
        task: torch.nn.Module = CASES[category]()
        saver = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
        trainer = trainer_of(max_epochs=3, enable_checkpointing=True, callbacks=[saver])
        batches = loader(images, 2)
        trainer.fit(task, batches, loader(images), ckpt_path=checkpoint, weights_only=True)
        return task

    whole = fit()
    torch.rand(7)
    resumed = fit(tmp_path / "epoch=0.ckpt")
    assert all(map(torch.equal, weights_of(whole), weights_of(resumed)))
