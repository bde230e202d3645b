"""The state that training ends with is validated, wherever it ends, and kept where it is best."""

from datetime import timedelta

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from imtoolkit.callbacks.checkpoint_io import AtomicCheckpointIO, load_checkpoint
from imtoolkit.callbacks.checkpoints import Checkpoints
from imtoolkit.callbacks.final_validation import FinalValidation


class Rising(pl.LightningModule):
    """Logs the number of steps as its metric, so that the last state is the best."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(1, 1)
        self.validated = []

    def training_step(self, batch, batch_idx):
        return self.net(batch).square().mean()

    def validation_step(self, batch, batch_idx):
        pass

    def on_validation_epoch_end(self):
        self.validated.append(self.global_step)
        self.log("val/steps", float(self.global_step))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def fit(tmp_path, *, final=True, **arguments):
    """Train on 10 batches an epoch."""
    task = Rising()
    keep = Checkpoints(tmp_path, {"val/steps": "max"})
    trainer = pl.Trainer(
        accelerator="cpu",
        callbacks=[*([FinalValidation()] if final else []), keep],
        plugins=[AtomicCheckpointIO()],
        default_root_dir=tmp_path,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **arguments,
    )
    trainer.fit(task, DataLoader(torch.rand(10, 1)), DataLoader(torch.rand(2, 1)))
    return task.validated, keep, trainer


@pytest.mark.parametrize(
    ("arguments", "validated"),
    [
        ({"max_epochs": 2}, [10, 20]),
        ({"max_epochs": 3, "check_val_every_n_epoch": 2}, [20, 30]),
        ({"max_epochs": -1, "max_steps": 13}, [10, 13]),
        ({"max_epochs": 1, "val_check_interval": 4}, [4, 8, 10]),
        ({"max_epochs": 4, "max_steps": 20, "check_val_every_n_epoch": 3}, [20]),
    ],
)
def test_the_last_state_is_validated_once_and_kept(tmp_path, arguments, validated):
    seen, keep, trainer = fit(tmp_path, **arguments)
    assert seen == validated
    assert trainer.global_step == validated[-1]
    assert keep.best["val/steps"]["value"] == validated[-1]
    assert load_checkpoint(tmp_path / "best.ckpt")["global_step"] == validated[-1]
    assert load_checkpoint(tmp_path / "last.ckpt")["global_step"] == validated[-1]


def test_a_training_that_time_ends_is_validated_where_it_stands(tmp_path):
    seen, _, trainer = fit(tmp_path, max_epochs=10**6, max_time=timedelta(seconds=0.5))
    assert seen[-1] == trainer.global_step


def test_without_it_the_last_state_of_a_cut_epoch_would_be_missed(tmp_path):
    seen, _, _ = fit(tmp_path, final=False, max_epochs=-1, max_steps=13)
    assert seen == [10]
