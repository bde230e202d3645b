"""Best states, averages, NaN and signals in trainings of a tiny task."""

import json
import os
import signal
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, Timer
from torch import nn
from torch.utils.data import DataLoader

from imtoolkit.callbacks.checkpoint_io import AtomicCheckpointIO, load_checkpoint
from imtoolkit.callbacks.checkpoints import Checkpoints
from imtoolkit.callbacks.early_stopping import EarlyStopping
from imtoolkit.callbacks.ema import LIVE, Ema
from imtoolkit.callbacks.interrupt import Interrupt, signals_given_back
from imtoolkit.callbacks.metrics_csv import MetricsCsv
from imtoolkit.callbacks.nan_guard import NanGuard
from imtoolkit.callbacks.progress import Progress
from imtoolkit.core.errors import ConfigError, RunFailedError, RunInterruptedError
from imtoolkit.losses.pixelwise import MSELoss
from imtoolkit.losses.weighted_sum import Term, WeightedSum


class Line(pl.LightningModule):
    """Learns y = 2 x; the validation values are given."""

    def __init__(self, values=(), bad_batch=None):
        super().__init__()
        self.net = nn.Linear(1, 1)
        self.values = values
        self.bad_batch = bad_batch
        self.validated_with = []

    def training_step(self, batch, batch_idx):
        loss = (self.net(batch["image"]) - 2 * batch["image"]).square().mean()
        return loss * float("nan") if batch_idx == self.bad_batch else loss

    def validation_step(self, batch, batch_idx):
        self.validated_with.append(self.net.weight.detach().clone())

    def on_validation_epoch_end(self):
        if self.values:
            self.log("val/dice", self.values[self.current_epoch])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


def rows(count=8):
    return [{"image": torch.full((1,), float(n + 1) / count), "id": f"im{n}"} for n in range(count)]


def fit(tmp_path, task, *callbacks, ckpt_path=None, epochs=None, **arguments):
    trainer = pl.Trainer(
        max_epochs=epochs or max(1, len(task.values)),
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=[MetricsCsv(tmp_path / "metrics.csv")],
        enable_progress_bar=any(isinstance(item, Progress) for item in callbacks),
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(item, Checkpoint) for item in callbacks),
        plugins=[AtomicCheckpointIO()],
        default_root_dir=tmp_path,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        **arguments,
    )
    loader = DataLoader(rows(), batch_size=2)
    trainer.fit(task, loader, DataLoader(rows(2), batch_size=2), ckpt_path=ckpt_path)
    return trainer


def test_the_best_state_is_that_of_the_best_epoch(tmp_path):
    keep = Checkpoints(tmp_path, {"val/dice": "max"})
    fit(tmp_path, Line([0.1, 0.7, float("nan"), 0.5]), keep)
    assert keep.best["val/dice"] == {"value": pytest.approx(0.7), "epoch": 1, "step": 8}
    best = load_checkpoint(tmp_path / "best.ckpt")
    assert best["global_step"] == 8
    assert load_checkpoint(tmp_path / "best-val-dice.ckpt")["global_step"] == 8
    assert load_checkpoint(tmp_path / "last.ckpt")["global_step"] == 16


def test_less_is_better_where_the_metric_says_so(tmp_path):
    keep = Checkpoints(tmp_path, {"val/dice": "min"})
    fit(tmp_path, Line([0.5, 0.2, 0.3]), keep)
    assert load_checkpoint(tmp_path / "best.ckpt")["global_step"] == 8


def test_a_resumed_run_remembers_the_best_in_a_folder_that_was_moved(tmp_path):
    first = tmp_path / "first"
    fit(first, Line([0.9]), Checkpoints(first, {"val/dice": "max"}), epochs=1)
    moved = first.rename(tmp_path / "moved")
    keep = Checkpoints(moved, {"val/dice": "max"})
    fit(moved, Line([0.9, 0.3]), keep, ckpt_path=moved / "last.ckpt")
    assert keep.best["val/dice"]["epoch"] == 0
    assert load_checkpoint(moved / "best.ckpt")["global_step"] == 4
    for state in moved.glob("*.ckpt"):
        assert str(tmp_path).encode() not in state.read_bytes()


def test_a_metric_that_nobody_logs_is_named_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"nobody logs 'val/dcie'. Did you mean 'val/dice'"):
        fit(tmp_path, Line([0.5]), Checkpoints(tmp_path, {"val/dcie": "max"}))


def test_the_last_state_is_kept_every_so_many_minutes_of_the_clock(tmp_path, monkeypatch):
    minutes = iter([0, 1, 4, 5, 6, 11])  # at the start, then in each of the five batches
    clock = SimpleNamespace(monotonic=lambda: 60.0 * now[0])
    now, saved = [0], []

    class Watch(pl.Callback):
        def on_train_start(self, trainer, pl_module):
            now[0] = next(minutes)

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            now[0] = next(minutes)

    class Spy(AtomicCheckpointIO):
        def save_checkpoint(self, checkpoint, path, storage_options=None):
            saved.append((now[0], checkpoint["global_step"]))

    monkeypatch.setattr("imtoolkit.callbacks.checkpoints.time", clock)
    keep = Checkpoints(tmp_path, {}, every_minutes=5)
    trainer = pl.Trainer(
        max_epochs=1,
        limit_train_batches=5,
        accelerator="cpu",
        callbacks=[Watch(), keep],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[Spy()],
        default_root_dir=tmp_path,
    )
    trainer.fit(Line(), DataLoader(rows(), batch_size=1))
    # after minute 5 the next would be due at 10; at 11 the epoch ends, and is kept as always
    assert saved == [(5, 3), (11, 5)]


def test_mid_epoch_states_are_taken_only_where_no_gradient_is_half_gathered(tmp_path):
    saved = []

    class Spy(AtomicCheckpointIO):
        def save_checkpoint(self, checkpoint, path, storage_options=None):
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
            saved.append((path.name, progress["processed"], checkpoint["global_step"]))

    keep = Checkpoints(tmp_path, {}, every_steps=1)
    trainer = pl.Trainer(
        max_epochs=1,
        accumulate_grad_batches=3,
        accelerator="cpu",
        callbacks=[keep],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[Spy()],
        default_root_dir=tmp_path,
    )
    trainer.fit(Line(), DataLoader(rows(), batch_size=1))
    # 8 batches: steps after 3, 6 and 8; the last belongs to the end of the epoch
    assert saved == [("last.ckpt", 3, 1), ("last.ckpt", 6, 2), ("last.ckpt", 8, 3)]


def test_the_average_follows_the_formula_and_validates(tmp_path):
    task, ema = Line([0.5, 0.5]), Ema(decay=0.9, warmup=False)
    weights = []

    class Watch(pl.Callback):
        def on_train_start(self, trainer, module):
            weights.append(module.net.weight.detach().clone())

        def on_train_batch_end(self, trainer, module, *rest):
            weights.append(module.net.weight.detach().clone())

    fit(tmp_path, task, Watch(), ema, Checkpoints(tmp_path, {"val/dice": "max"}))
    average = weights[0]
    for weight in weights[1:]:
        average = 0.9 * average + 0.1 * weight
    state = load_checkpoint(tmp_path / "last.ckpt")
    assert torch.allclose(state["state_dict"]["net.weight"], average, atol=1e-6)
    assert torch.equal(state[LIVE]["net.weight"], weights[-1])
    assert torch.equal(task.net.weight, weights[-1])
    assert torch.equal(task.validated_with[-1], state["state_dict"]["net.weight"])


def test_nan_stops_before_the_weights_are_touched_and_names_the_images(tmp_path):
    task = Line([0.5], bad_batch=2)
    with pytest.raises(RunFailedError, match="im4, im5"):
        fit(tmp_path, task, NanGuard(tmp_path))
    assert torch.isfinite(task.net.weight).all()
    assert json.loads((tmp_path / "bad_batch.json").read_text())["ids"] == ["im4", "im5"]


def test_nan_names_the_term_of_the_loss_that_it_comes_from(tmp_path):
    class Terms(Line):
        def __init__(self):
            super().__init__([0.5])
            made = [Term("mse", MSELoss()), Term("root", Root(), warmup_steps=100)]
            self.losses = WeightedSum(made)

        def training_step(self, batch, batch_idx):
            guess = self.net(batch["image"]).reshape(-1, 1, 1, 1)
            truth = {"target": batch["image"].reshape(-1, 1, 1, 1)}
            return self.losses(guess, truth, self.global_step)[0]

    class Root(nn.Module):
        def forward(self, prediction, target, weight=None):
            return (-prediction.square() - 1).sqrt().mean()

    with pytest.raises(RunFailedError, match=r"the loss \(term 'root'\) is NaN or infinite"):
        fit(tmp_path, Terms(), NanGuard(tmp_path))
    assert json.loads((tmp_path / "bad_batch.json").read_text())["terms"] == ["root"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_says_how_to_go_on_and_gives_the_handlers_back(tmp_path, number):
    class Press(pl.Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            if batch_idx == 1:
                os.kill(os.getpid(), number)

    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    keep = Checkpoints(tmp_path, {})
    stopped = pytest.raises(RunInterruptedError, match="Continue with: go on")
    with signals_given_back(), stopped as caught:
        fit(tmp_path, Line([0.5]), Press(), keep, Interrupt(keep, "go on"))
    assert caught.value.exit_code == 128 + number
    assert load_checkpoint(tmp_path / "last.ckpt")["global_step"] == 2
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


def test_early_stopping_takes_the_patience_that_is_asked_for_now(tmp_path):
    stop = EarlyStopping("val/dice", "max", patience=1)
    keep = Checkpoints(tmp_path, {"val/dice": "max"})
    trainer = fit(tmp_path, Line([0.9, 0.1, 0.1, 0.1]), stop, keep)
    assert trainer.current_epoch == 2
    patient = EarlyStopping("val/dice", "max", patience=5)
    values = [0.9, 0.1, 0.1, 0.1]
    trainer = fit(
        tmp_path, Line(values), patient, Checkpoints(tmp_path, {}), ckpt_path=tmp_path / "last.ckpt"
    )
    assert trainer.current_epoch == 4


def test_progress_shows_the_current_and_the_best_value(tmp_path):
    import io

    from rich.console import Console

    text = io.StringIO()
    bar = Progress({"val/dice": "max"}, console=Console(file=text, width=120))
    fit(tmp_path, Line([0.75, 0.5]), bar)
    assert "epoch 2/2  val/dice 0.5000 (best 0.7500)" in text.getvalue()


def shown(tmp_path, task, *callbacks, title="", **arguments):
    import io

    from rich.console import Console

    text = io.StringIO()
    bar = Progress({"val/dice": "max"}, title=title, console=Console(file=text, width=30))
    fit(tmp_path, task, bar, *callbacks, **arguments)
    return text.getvalue().splitlines()


def test_a_line_of_a_log_file_is_not_broken_at_the_width_of_a_console(tmp_path):
    title = "uses a machine with a name that is rather long"
    lines = shown(tmp_path, Line([0.75]), title=title)
    assert lines[0] == title
    assert len(lines) == 2


def test_progress_says_why_training_ends_early(tmp_path):
    full = shown(tmp_path, Line([0.5, 0.75]))
    assert len(full) == 2
    stop = EarlyStopping("val/dice", patience=1)
    lines = shown(tmp_path, Line([0.75, 0.5, 0.5]), stop)
    expected = "stopped early: val/dice was no better in 1 validation (trainer.early_stopping)"
    assert lines[-1] == expected
    timer = Timer({"hours": 1})

    class Late(pl.Callback):
        def on_validation_end(self, trainer, pl_module):
            timer._duration = 0.0

    lines = shown(tmp_path, Line([0.5] * 9), timer, Late())
    assert lines[-1] == "stopped: the time is up (trainer.max_time)"


def test_early_stopping_names_the_metrics_that_there_are(tmp_path):
    with pytest.raises(ConfigError, match=r"early_stopping.monitor.*nobody logs 'val/dise'"):
        fit(tmp_path, Line([1.0]), EarlyStopping("val/dise"), epochs=1)
