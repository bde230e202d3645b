"""Nets that learn against each other: pix2pix, pix2pixHD, CycleGAN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .losses import move_loss
from .nets import move_net
from .optim import move_optimizer, move_scheduler
from .start import move_initial
from .transfer import Transfer, component

_KINDS: Final = {
    "MSELoss": "mse", "BCEWithLogitsLoss": "bce", "BCELoss": "bce", "HingeEmbeddingLoss": "hinge",
}  # fmt: skip
_GENERATOR: Final = {
    "n_down_blocks": "depth",
    "n_res_blocks": "blocks",
    "nf": "channels",
    "norm_layer": "norm",
    "use_dropout": "dropout",
}
_DISCRIMINATOR: Final = {
    "num_discriminator": "scales", "n_layers": "depth", "nf": "channels", "norm_layer": "norm",
}  # fmt: skip
_WAYS: Final = {"AtoB": "a_to_b", "BtoA": "b_to_a"}
_FILLED: Final = ("spatial_dims", "in_channels", "out_channels")
_JUDGES: Final = {
    "predefined_basic": "patch_discriminator",
    "predefined": "patch_discriminator",
    "predefined_multiscale": "multiscale_discriminator",
}


def move_pix2pix(transfer: Transfer) -> None:
    """An image from an image, judged by a discriminator that sees both."""
    move_initial(transfer, "normal")
    _nets(transfer)
    if not transfer.facts.trains:
        return
    _learning(transfer)
    key = "model.criterion"
    kind = str(transfer.get(f"{key}.loss_type", "pix2pix_HD"))
    _gan_loss(transfer, key)
    _feature_matching(transfer, key, kind)
    weight = transfer.get(f"{key}.weights.reconstruction_loss")
    if kind == "pix2pix_HD_original" or transfer.get(f"{key}.reconstruction_loss") is None:
        transfer.put("task.reconstruction_weight", 0.0)
        transfer.lose(f"{key}.reconstruction_loss", f"'{kind}' does not use it")
        transfer.lose(f"{key}.weights.reconstruction_loss", f"'{kind}' does not use it")
    else:
        move_loss(transfer, f"{key}.reconstruction_loss", "task.loss")
        if weight is not None:
            transfer.carry(
                f"{key}.weights.reconstruction_loss", "task.reconstruction_weight", float(weight)
            )
    transfer.ledger.carried(f"{key}.loss_type", "task", _what(kind))
    transfer.lose(key, "the category pix2pix has no such part")


def _what(kind: str) -> str:
    parts = {
        "pix2pix_basic": "adversarial_weight and reconstruction_weight",
        "pix2pix_HD_original": "adversarial_weight and feature_matching_weight",
    }
    return parts.get(kind, "adversarial_, feature_matching_ and reconstruction_weight")


def move_cyclegan(transfer: Transfer) -> None:
    """Two domains, and a generator for each way."""
    move_initial(transfer, "kaiming")
    _nets(transfer)
    way = "model.model_extra.inference_direction"
    if str(transfer.get(way)) in _WAYS:
        transfer.carry(way, "task.direction", _WAYS[str(transfer.get(way))])
    transfer.lose(way, f"is none of {', '.join(_WAYS)}")
    if not transfer.facts.trains:
        return
    _learning(transfer)
    key = "model.criterion"
    _gan_loss(transfer, key)
    for name in ("cycle", "identity"):
        weight = transfer.get(f"{key}.weights.{name}_loss")
        if weight is not None:
            transfer.carry(f"{key}.weights.{name}_loss", f"task.{name}_weight", float(weight))
    if transfer.component(f"{key}.cycle_loss")[1]:
        move_loss(transfer, f"{key}.cycle_loss", "task.loss")
    if transfer.component(f"{key}.identity_loss")[1] == transfer.component(f"{key}.cycle_loss")[1]:
        transfer.imply(f"{key}.identity_loss", "the difference is that of the cycle")
    transfer.lose(f"{key}.identity_loss", "the difference is that of the cycle: task.loss")
    transfer.carry(f"{key}.fake_pool_size", "task.pool_size")
    transfer.lose(key, "the category cyclegan has no such part")


def _nets(transfer: Transfer) -> None:
    _generator(transfer, "model.net.generator", "task.nets.generator")
    _discriminator(transfer, "model.net.discriminator", "task.nets.discriminator")


def _generator(transfer: Transfer, key: str, to: str) -> None:
    raw = transfer.get(key, {})
    kind = str(raw.get("type", "")) if isinstance(raw, Mapping) else ""
    if kind == "predefined_resnet":
        _preset(transfer, key, to, "resnet_generator", _GENERATOR)
    elif kind == "predefined_unet":
        params = dict(raw.get("params") or {})
        for name in _FILLED:
            params.pop(name, None)
            transfer.imply(f"{key}.params.{name}", "filled in from the data")
        kept = transfer.known_params(key, to, "net", "UNet", params)
        transfer.put(to, component("UNet", kept))
        transfer.ledger.carried(key, to)
    elif kind:
        transfer.put(to, "encoder_decoder_generator")
        transfer.lose(
            key,
            f"a generator '{kind}' is put together of classes by name, which a config is not: "
            "encoder_decoder_generator stands in its place",
        )
        transfer.remark(f"the generator '{kind}' was replaced by encoder_decoder_generator")
    else:
        move_net(transfer, key, to, "generator")


def _discriminator(transfer: Transfer, key: str, to: str) -> None:
    kind = str(transfer.get(f"{key}.type", "predefined_basic"))
    _preset(transfer, key, to, _JUDGES.get(kind, "patch_discriminator"), _DISCRIMINATOR)


def _preset(transfer: Transfer, key: str, to: str, name: str, names: Mapping[str, str]) -> None:
    params = transfer.get(f"{key}.params", {})
    kept: dict[str, Any] = {}
    for parameter, value in params.items():
        place = f"{key}.params.{parameter}"
        ours = names.get(parameter)
        if parameter in _FILLED:
            transfer.imply(place, "filled in from the data and the task")
        elif value is None:
            transfer.imply(place, "null is as if it were left out")
        elif ours is None or (ours == "scales" and name == "patch_discriminator"):
            transfer.lose(place, f"'{name}' has no such parameter")
        else:
            kept[ours] = value.lower() if ours == "norm" and isinstance(value, str) else value
            transfer.ledger.carried(place, f"{to}.params.{ours}")
    transfer.put(to, component(name, kept))
    note = "enlarges by resizing; upsampling: transposed does as there" * (names is _GENERATOR)
    transfer.ledger.carried(key, to, note)


def _learning(transfer: Transfer) -> None:
    """An optimizer and a schedule for each side."""
    for role in ("generator", "discriminator"):
        move_optimizer(transfer, f"model.optimizer.{role}", f"task.optimizers.{role}")
        move_scheduler(transfer, f"model.scheduler.{role}", f"task.schedulers.{role}")


def _gan_loss(transfer: Transfer, key: str) -> None:
    module, name, _ = transfer.component(f"{key}.gan_loss")
    if name in _KINDS:
        transfer.put("task.adversarial", _KINDS[name])
        transfer.ledger.carried(f"{key}.gan_loss", "task.adversarial")
    transfer.lose(
        f"{key}.gan_loss", f"'{module}.{name}' is none of mse, bce and hinge: mse is taken"
    )
    weight = transfer.get(f"{key}.weights.gan_loss")
    if weight is not None:
        transfer.carry(f"{key}.weights.gan_loss", "task.adversarial_weight", float(weight))


def _feature_matching(transfer: Transfer, key: str, kind: str) -> None:
    weight = transfer.get(f"{key}.weights.fm_loss")
    _, name, _ = transfer.component(f"{key}.fm_loss")
    if kind == "pix2pix_basic":
        for part in ("weights.fm_loss", "fm_loss"):
            transfer.lose(f"{key}.{part}", "'pix2pix_basic' does not use it")
        return
    if weight is not None:
        note = "the mean over the layers of the discriminator counts, instead of their sum"
        transfer.carry(
            f"{key}.weights.fm_loss", "task.feature_matching_weight", float(weight), note
        )
    if name == "L1Loss":
        transfer.imply(f"{key}.fm_loss", "the mean absolute difference is taken")
    transfer.lose(f"{key}.fm_loss", "the mean absolute difference (L1) is taken instead")
