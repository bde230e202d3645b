"""Probabilistic U-Net with its evidence lower bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .nets import outputs_of
from .optim import move_optimizer, move_scheduler
from .regularizers import move_regularized
from .tasks import move_classes, move_numbers
from .transfer import Transfer, as_list, component


def move_probabilistic(transfer: Transfer) -> None:
    """A U-Net and a few numbers that choose one of many segmentations."""
    params = transfer.component("model.net")[2]
    if transfer.facts.category == "regression":
        _numbers(transfer, params)
        return
    move_classes(transfer)
    _net(transfer, "task.net", "probabilistic_unet", params)
    _maps(transfer)
    if not transfer.facts.trains:
        return
    _bound(transfer)
    move_optimizer(transfer, "model.optimizer", "task.optimizer")
    move_scheduler(transfer, "model.scheduler", "task.scheduler")


def _net(transfer: Transfer, to: str, name: str, params: Mapping[str, Any]) -> None:
    key = "model.net"
    kept: dict[str, Any] = {}
    channels, strides = as_list(params.get("channels")), as_list(params.get("strides"))
    if channels:
        kept["channels"] = channels
        transfer.ledger.carried(f"{key}.params.channels", f"{to}.params.channels")
    if strides:
        # one stride for each level there; here one for each step from a level to the next
        kept["strides"] = strides[1:] if len(strides) == len(channels) else strides
        note = "steps between the levels; the first level keeps the size of the image"
        transfer.ledger.carried(f"{key}.params.strides", f"{to}.params.strides", note)
    names = {"latent_dim": "latent", "dropout": "dropout"}
    if name != "probabilistic_unet":
        names.pop("latent_dim")
        transfer.lose(f"{key}.params.latent_dim", "numbers are predicted without latent ones")
    for there, here in names.items():
        if params.get(there) is not None:
            kept[here] = params[there]
            transfer.ledger.carried(f"{key}.params.{there}", f"{to}.params.{here}")
    for part in ("in_channels", "out_channels", "n_classes", "spatial_dims"):
        transfer.imply(f"{key}.params.{part}", "filled in from the data and the task")
    transfer.imply(f"{key}.params.task", "says the category of the task")
    transfer.lose(f"{key}.params", f"'{name}' has no such parameter")
    transfer.put(to, component(name, kept))
    transfer.ledger.carried(key, to)


def _bound(transfer: Transfer) -> None:
    where = "model.criterion.params"
    params = transfer.component("model.criterion")[2]
    transfer.carry(f"{where}.beta", "task.beta")
    transfer.imply(f"{where}.kl_clamp", "deviations of the latent numbers are bounded")
    transfer.imply(f"{where}.regression_loss_type", "segmentation takes the cross-entropy")
    weights = as_list(params.get("elbo_class_weights"))
    if len(set(weights)) > 1:
        transfer.carry(f"{where}.elbo_class_weights", "task.class_weights")
    transfer.imply(f"{where}.elbo_class_weights", "all classes weigh the same")
    if any(value is True for name, value in params.items() if name.startswith("use_")):
        transfer.put("task.losses.pixels", "cross_entropy")
    move_regularized(transfer, "model.criterion", "task.beta")
    transfer.lose(where, "the bound has no such parameter")


def _maps(transfer: Transfer) -> None:
    """Maps of uncertainty, which an inference file asked for below its net."""
    where = "model.net.pred_slice2vol"
    if transfer.get(where) is None:
        return
    transfer.carry(f"{where}.n_samples", "inference.uncertainty.samples")
    transfer.imply(f"{where}.uncertainity_map", "imtoolkit predict --uncertainty writes all maps")
    transfer.imply(f"{where}.compute_mode", "variance, entropy and mutual information are written")
    transfer.lose(where, "see inference.uncertainty, and imtoolkit predict --uncertainty")


def _numbers(transfer: Transfer, params: Mapping[str, Any]) -> None:
    """Numbers of whole images have no latent numbers here."""
    backbone = "task.net.params.backbone"
    transfer.put("task.net", {"name": "composed", "params": {}})
    _net(transfer, backbone, "UNet", params)
    move_numbers(transfer, outputs_of(transfer) or 1)
    transfer.remark(
        "the probabilistic U-Net is for segmentation here: numbers are predicted by its U-Net, "
        "without their spread"
    )
    if not transfer.facts.trains:
        return
    key = "model.criterion"
    names = {"mse": "mse", "l1": "l1", "huber": "huber"}
    kind = names.get(str(transfer.get(f"{key}.params.regression_loss_type", "mse")).lower(), "mse")
    transfer.put("task.loss", kind)
    transfer.ledger.carried(f"{key}.params.regression_loss_type", "task.loss")
    transfer.lose(f"{key}.params", "numbers are predicted without latent ones")
    transfer.ledger.carried(key, "task.loss")
    move_optimizer(transfer, "model.optimizer", "task.optimizer")
    move_scheduler(transfer, "model.scheduler", "task.scheduler")
