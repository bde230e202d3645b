"""The old section ``model``, framework by framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .losses import move_criterion
from .nets import move_net, outputs_of
from .optim import move_optimizer, move_scheduler
from .planning import plan_dynunet
from .transfer import Transfer


def move_classes(transfer: Transfer) -> None:
    """Name the classes, which were only counted there."""
    outputs = outputs_of(transfer)
    told = transfer.get("model.criterion.params.n_classes")
    count = outputs if outputs is not None else told if isinstance(told, int) else 2
    transfer.put("task.classes", class_names(count))
    if isinstance(told, int) and outputs is not None and told != outputs:
        transfer.lose(
            "model.criterion.params.n_classes",
            f"{told} classes contradict the {outputs} channels of the net: see task.classes",
        )
    transfer.remark("give the classes their names: task.classes, in the order of their labels")


def class_names(count: int) -> list[str]:
    """Return names for classes that were only counted, background first.

    Example:
        >>> class_names(3), class_names(1)
        (['background', 'class_1', 'class_2'], ['background', 'foreground'])
    """
    if count <= 2:
        return ["background", "foreground"]
    return ["background", *(f"class_{number}" for number in range(1, count))]


def move_fcn(transfer: Transfer) -> None:
    """One net with one loss: segmentation, enhancement, or numbers of whole images."""
    if transfer.facts.category == "segmentation":
        move_classes(transfer)
    planned = _plan(transfer) if transfer.facts.framework == "nnUnet" else {}
    if transfer.facts.category == "regression":
        _numbers(transfer, planned)
    else:
        _net(transfer, "task.net", planned)
    if transfer.facts.trains:
        move_criterion(transfer)
        move_optimizer(transfer, "model.optimizer", "task.optimizer")
        move_scheduler(transfer, "model.scheduler", "task.scheduler")


def _plan(transfer: Transfer) -> dict[str, Any]:
    """Plan a DynUNet for the patch, as the trainer there did whatever the file said."""
    extra, params = "data.extra", "model.net.params"
    if transfer.get(f"{params}.deep_supervision") and transfer.facts.category == "segmentation":
        transfer.put("task.deep_supervision", True)
        transfer.ledger.carried(f"{params}.deep_supervision", "task.deep_supervision")
    transfer.lose(f"{extra}.modality", "normalise with data.preprocess, such as normalize_zscore")
    transfer.lose(f"{extra}.vram_gb", "imtoolkit check tells what a batch needs")
    size, spacing = transfer.get(f"{extra}.patch_size"), transfer.get(f"{extra}.spacing")
    is_size = isinstance(size, list) and all(isinstance(side, int) and side > 0 for side in size)
    if not is_size or transfer.component("model.net")[1].lower() != "dynunet":
        return {}
    transfer.facts.dims = len(size)
    planned = plan_dynunet(size, spacing if isinstance(spacing, list) else None)
    for name in planned:
        transfer.imply(
            f"{params}.{name}", "planned from data.extra here, as there, whatever the file says"
        )
    transfer.ledger.carried(f"{extra}.spacing", "task.net.params.strides")
    _patch(transfer, f"{extra}.patch_size", size)
    return planned


def _patch(transfer: Transfer, key: str, size: list[int]) -> None:
    whole = transfer.facts.category == "regression"
    if whole or transfer.facts.patch is not None:
        transfer.ledger.carried(key, "task.net.params.strides")
        return
    transfer.facts.patch = list(size)
    transfer.carry(key, "data.patch.size", list(size), "and the plan of the net")


def _net(transfer: Transfer, to: str, planned: Mapping[str, Any]) -> None:
    move_net(transfer, "model.net", to)
    for name, value in planned.items():
        transfer.put(f"{to}.params.{name}", value)


def _numbers(transfer: Transfer, planned: Mapping[str, Any]) -> None:
    """Numbers of whole images: the maps of the net are pooled over the image."""
    transfer.put("task.net", {"name": "composed", "params": {}})
    _net(transfer, "task.net.params.backbone", planned)
    move_numbers(transfer, outputs_of(transfer) or 1)


def move_numbers(transfer: Transfer, count: int) -> None:
    """Name the columns that are learnt, and pool what the backbone gives."""
    transfer.put("task.columns", [f"value_{number}" for number in range(1, count + 1)])
    backbone = transfer.new["task"]["net"]["params"]["backbone"]
    if isinstance(backbone, str):  # inside parameters a component is written out
        transfer.put("task.net.params.backbone", {"name": backbone, "params": {}})
    post = {"name": "norm_pool_linear", "params": {"norm": "instance"}}
    transfer.put("task.net.params.post", post)
    transfer.remark(
        "name the columns of the numbers: task.columns; they are learnt in units of their spread"
    )


def move_task(transfer: Transfer) -> None:
    """Account for the section ``model``, but for weights to start from."""
    from . import adversarial, embedseg, probabilistic

    movers: dict[str, Callable[[Transfer], None]] = {
        "FCN": move_fcn,
        "nnUnet": move_fcn,
        "embedseg": embedseg.move_embedseg,
        "pix2pix": adversarial.move_pix2pix,
        "cyclegan": adversarial.move_cyclegan,
        "ProbUnet": probabilistic.move_probabilistic,
    }
    transfer.put("task.category", transfer.facts.category)
    transfer.ledger.carried("model.framework", "task.category", f"'{transfer.facts.category}'")
    for key in ("model.criterion", "model.optimizer", "model.scheduler"):
        if not transfer.facts.trains:
            transfer.imply(key, "an inference file needs none")
    movers[transfer.facts.framework](transfer)
