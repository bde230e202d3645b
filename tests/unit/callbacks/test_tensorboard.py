"""TensorBoard as a logger beside the table."""

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from imtoolkit.core import registry
from imtoolkit.core.errors import MissingPackageError


class Logging(pl.LightningModule):
    """Logs its number of steps."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        self.log("train/loss", float(self.global_step))
        return (self.weight * batch).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_what_is_logged_stands_in_the_folder_tensorboard_of_the_run(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=registry.build("logger", "tensorboard", {"flush_secs": 1}, save_dir=tmp_path),
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Logging(), DataLoader(torch.ones(3, 1)))
    found = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(item.step, item.value) for item in found.Scalars("train/loss")] == [
        (0, 0.0),
        (1, 1.0),
        (2, 2.0),
    ]
    assert "hp_metric" not in found.Tags()["scalars"]


def test_a_missing_package_is_told_with_how_to_install_it(tmp_path, monkeypatch):
    module = "lightning_fabric.loggers.tensorboard"
    monkeypatch.setattr(f"{module}._TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr(f"{module}._TENSORBOARDX_AVAILABLE", False)
    with pytest.raises(MissingPackageError, match=r"pip install .*imtoolkit\[tensorboard\]"):
        registry.build("logger", "tensorboard", {}, save_dir=tmp_path)
