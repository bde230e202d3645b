"""Optimizers and schedules of the old file: torch's keep their names."""

from __future__ import annotations

from typing import Any, Final

from .transfer import Transfer, component

WATCHED: Final = {
    "val_loss": "val/loss",
    "val_loss_epoch": "val/loss",
    "train_loss": "train/loss",
    "train_loss_epoch": "train/loss",
}
"""Metric there -> metric here."""

_PLATEAU: Final = "ReduceLROnPlateau"
_EPOCHS: Final = ("CosineAnnealingLR", "OneCycleLR", "CyclicLR")


def move_optimizer(transfer: Transfer, key: str, to: str) -> None:
    """Account for one optimizer."""
    module, name, params = transfer.component(key)
    if not name:
        return
    if transfer.entry("optimizer", name) is None:
        kept = {"lr": params["lr"]} if isinstance(params.get("lr"), (int, float)) else {}
        transfer.put(to, component("AdamW", kept))
        transfer.ledger.carried(f"{key}.params.lr", f"{to}.params.lr")
        transfer.lose(
            key,
            f"'{module}.{name}' is not an optimizer of torch or MONAI: AdamW stands in its place",
        )
        return
    note = ""
    if params.get("weight_decay"):
        note = "norms and biases are not decayed here; decay_all: true decays all weights"
    transfer.put(to, component(name, transfer.known_params(key, to, "optimizer", name, params)))
    transfer.ledger.carried(key, to, note)


def move_scheduler(transfer: Transfer, key: str, to: str) -> None:
    """Account for one schedule of the learning rate."""
    module, name, params = transfer.component(key)
    if not name:
        return
    if transfer.entry("scheduler", name) is None:
        transfer.lose(
            key,
            f"'{module}.{name}' is not a schedule of torch or MONAI; the rate stays constant. "
            "See: imtoolkit components scheduler",
        )
        return
    kept = _without_texts(transfer, key, name, params)
    transfer.put(to, component(name, transfer.known_params(key, to, "scheduler", name, kept)))
    if name == _PLATEAU:
        transfer.option(to, "monitor", _monitor(transfer, key))
        transfer.ledger.carried(f"{key}.monitor", f"{to}.monitor")
    elif name in _EPOCHS and kept:
        transfer.option(to, "interval", "epoch")
    transfer.imply(f"{key}.monitor", "only ReduceLROnPlateau watches a metric")
    transfer.ledger.carried(key, to)


def _monitor(transfer: Transfer, key: str) -> str:
    return WATCHED.get(str(transfer.get(f"{key}.monitor", "val_loss")), "val/loss")


def _without_texts(
    transfer: Transfer, key: str, name: str, params: dict[str, Any]
) -> dict[str, Any]:
    """Leave out what a text cannot be: functions, which a config holds none of."""
    kept = dict(params)
    kept.pop("verbose", None)
    transfer.imply(f"{key}.params.verbose", "the learning rate is a column of metrics.csv")
    if name == "LambdaLR" and "lr_lambda" in kept:
        kept.pop("lr_lambda")
        transfer.lose(
            f"{key}.params.lr_lambda", "a config holds no functions; see trainer.schedules"
        )
    return kept
