"""The old section ``trainer``: arguments of Lightning, callbacks, devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from imtoolkit.config.sections import TrainerConfig

from .optim import WATCHED
from .transfer import Transfer, as_list, component

_KNOWN: Final = {item.name for item in fields(TrainerConfig)}

_IMPLIED: Final = {
    "accelerator": "auto takes the GPU where there is one",
    "detect_anomaly": (
        "a NaN stops the run and names the images; trainer.detect_anomaly: true also finds the "
        "operation, and is slow"
    ),
    "terminate_on_nan": "a NaN stops the run, names the images and keeps the last state",
    "enable_checkpointing": "states are kept, see trainer.checkpoint",
    "checkpoint_callback": "states are kept, see trainer.checkpoint",
    "enable_progress_bar": "shown where a terminal is attached",
    "progress_bar_refresh_rate": "shown where a terminal is attached",
    "logger": "metrics.csv is always written; for more, see loggers",
    "weights_summary": "told at the start",
    "use_distributed_sampler": "each image is seen once, however many processes there are",
    "replace_sampler_ddp": "each image is seen once, however many processes there are",
    "num_sanity_val_steps": "imtoolkit check tries one batch of everything before a run",
    "reload_dataloaders_every_n_epochs": "the part of an epoch is drawn anew each time",
    "amp_backend": "torch's own mixed precision",
}
"""Argument -> why it need not be written."""

_GONE: Final = {
    "auto_lr_find": "no search for a learning rate: compare a few with imtoolkit train",
    "auto_scale_batch_size": "imtoolkit check tells what a batch needs",
    "stochastic_weight_avg": "trainer.ema averages the weights",
    "resume_from_checkpoint": "a run is resumed by: imtoolkit runs resume RUN",
    "flush_logs_every_n_steps": "metrics are written after each epoch",
    "track_grad_norm": "no counterpart; trainer.gradient_clip_val bounds it",
}

_PRECISION: Final = {
    "32": "32-true", "32-true": "32-true", "bf16": "bf16-mixed", "bf16-mixed": "bf16-mixed",
    "64": "64-true", "64-true": "64-true", "bf16-true": "bf16-true", "16-true": "16-true",
}  # fmt: skip


def move_trainer(transfer: Transfer) -> None:
    """Account for the section."""
    _devices(transfer)
    params = transfer.get("trainer.params", {})
    for name in params if isinstance(params, Mapping) else ():
        _argument(transfer, str(name), params[name])
    transfer.carry("trainer.strategy", "trainer.strategy")
    transfer.imply(
        "trainer.verbose", "pictures of validation images are drawn: see trainer.pictures"
    )
    for place in range(len(as_list(transfer.get("trainer.callbacks")))):
        _callback(transfer, f"trainer.callbacks.{place}")


def _devices(transfer: Transfer) -> None:
    keys = ("trainer.gpus", "trainer.params.devices", "trainer.params.gpus")
    found = next((key for key in keys if transfer.get(key) is not None), None)
    if found is None:
        return
    wanted = transfer.get(found)
    for key in keys:
        if key != found:
            transfer.imply(key, f"'{found}' counts")
    if wanted in (1, [0], "auto", -1, 0):
        transfer.imply(found, "one device is taken; several: trainer.devices")
    else:
        transfer.carry(found, "trainer.devices")


def _argument(transfer: Transfer, name: str, value: Any) -> None:
    key = f"trainer.params.{name}"
    if name in _IMPLIED:
        transfer.imply(key, _IMPLIED[name])
    elif name == "precision":
        _precision(transfer, key, value)
    elif name in ("devices", "gpus"):
        return
    elif name == "default_root_dir":
        transfer.carry(key, "tracking.runs", str(value))
    elif name == "max_time" and isinstance(value, Mapping):
        parts = [value.get(part, 0) for part in ("days", "hours", "minutes", "seconds")]
        transfer.carry(key, "trainer.max_time", ":".join(f"{part:02d}" for part in parts))
    elif name in _GONE:
        transfer.lose(key, _GONE[name])
    elif value is None:
        transfer.imply(key, "null is as if it were left out")
    elif name in _KNOWN:
        transfer.carry(key, f"trainer.{name}")
    else:
        transfer.lose(key, "the installed release of Lightning has no such argument")


def _precision(transfer: Transfer, key: str, value: Any) -> None:
    text = str(value)
    if text in _PRECISION:
        transfer.carry(key, "trainer.precision", _PRECISION[text])
    else:
        transfer.imply(
            key,
            "bf16-mixed on a GPU that has it, and 32-true elsewhere, is chosen by itself; "
            "for half precision set trainer.precision: 16-mixed",
        )


# --- callbacks ------------------------------------------------------------------------------------


def _callback(transfer: Transfer, key: str) -> None:
    module, name, params = transfer.component(key)
    if name == "EarlyStopping":
        _early_stopping(transfer, key, params)
    elif name == "ModelCheckpoint":
        _checkpoint(transfer, key, params)
    elif name in ("LearningRateMonitor", "RichProgressBar", "TQDMProgressBar", "ModelSummary"):
        transfer.imply(key, "rates stand in metrics.csv, and progress is shown")
    elif name == "StochasticWeightAveraging":
        transfer.put("trainer.ema", {})
        transfer.ledger.carried(key, "trainer.ema", "an exponential average of the weights")
    elif transfer.entry("callback", name) is not None and "lightning" in module:
        to = f"callbacks.{len(transfer.new.get('callbacks', []))}"
        kept = transfer.known_params(key, to, "callback", name, params)
        transfer.ledger.carried(key, transfer.append("callbacks", component(name, kept)))
    else:
        transfer.lose(
            key, f"'{module}.{name}' is code of another package: name your own under plugins"
        )


def _early_stopping(transfer: Transfer, key: str, params: Mapping[str, Any]) -> None:
    to = "trainer.early_stopping"
    transfer.put(to, {})
    for parameter in ("patience", "min_delta"):
        transfer.carry(f"{key}.params.{parameter}", f"{to}.{parameter}")
    _monitored(transfer, key, params, to=f"{to}.monitor")
    transfer.imply(f"{key}.params.mode", "each metric knows whether more is better")
    transfer.imply(f"{key}.params.verbose", "told when it stops")
    transfer.imply(f"{key}.params.check_finite", "a NaN stops the run")
    transfer.lose(f"{key}.params", "trainer.early_stopping has no such option")
    transfer.ledger.carried(key, to)


def _checkpoint(transfer: Transfer, key: str, params: Mapping[str, Any]) -> None:
    to = "trainer.checkpoint"
    _monitored(transfer, key, params, to=f"{to}.monitor", several=True)
    every = transfer.get(f"{key}.params.every_n_epochs")
    if isinstance(every, int) and "monitor" not in params:
        transfer.imply(f"{key}.params.every_n_epochs", "last.ckpt is written after each epoch")
    transfer.carry(f"{key}.params.every_n_train_steps", f"{to}.every_steps")
    transfer.imply(f"{key}.params.filename", "states are called best.ckpt and last.ckpt")
    transfer.imply(f"{key}.params.dirpath", "states lie in the run folder")
    transfer.imply(f"{key}.params.save_last", "the last state is always kept")
    transfer.imply(f"{key}.params.mode", "each metric knows whether more is better")
    transfer.imply(f"{key}.params.verbose", "told in the log")
    if params.get("save_top_k", 1) == 1:
        transfer.imply(f"{key}.params.save_top_k", "the best state is kept")
    transfer.lose(
        f"{key}.params.save_top_k",
        "one best state is kept for each metric of the list, and the last",
    )
    transfer.lose(
        f"{key}.params.save_weights_only", "states hold the optimizer as well, so that runs resume"
    )
    transfer.lose(f"{key}.params", "trainer.checkpoint has no such option")
    transfer.imply(key, "the best and the last state are kept")


def _monitored(
    transfer: Transfer, key: str, params: Mapping[str, Any], *, to: str, several: bool = False
) -> None:
    place, name = f"{key}.params.monitor", params.get("monitor")
    watched = WATCHED.get(str(name))
    if name is None:
        return
    if watched is None or params.get("mode") == "max":
        transfer.imply(
            place,
            "the main metric of the category is watched, measured on whole validation images",
        )
        return
    if transfer.facts.category not in ("segmentation", "enhancement", "regression",
                                       "probabilistic_unet"):  # fmt: skip
        transfer.imply(
            place, "the main metric of the category is watched: losses of a game tell little"
        )
        return
    if not several:
        transfer.put(to, watched)
        transfer.ledger.carried(place, to)
        return
    section = transfer.new.setdefault("trainer", {}).setdefault("checkpoint", {})
    listed = section.setdefault("monitor", [])
    if watched not in listed:
        listed.append(watched)
    transfer.ledger.carried(place, to)
