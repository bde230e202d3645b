"""Generalised Dice focal with regularisers: a term of the loss for each that is switched on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from .transfer import Transfer, as_list, component

_OFF: Final = "its regulariser is switched off"


def move_regularized(transfer: Transfer, key: str, main: str = "") -> None:
    """Account for the loss and its regularisers.

    Args:
        transfer: The conversion.
        key: Key of the criterion.
        main: Name of a main term that stands for itself (the ELBO); left out, generalised Dice
            focal is the main term.
    """
    where = f"{key}.params"
    params = transfer.component(key)[2]
    for parameter in ("spatial_dims", "n_classes"):
        transfer.imply(f"{where}.{parameter}", "filled in from the data and the task")
    if not main:
        _main(transfer, where, params)
    for name, rule in _RULES.items():
        _regulariser(transfer, where, params, name, rule)
    transfer.imply(f"{where}.warmup_schedule", "see trainer.schedules", "trainer.schedules")
    transfer.ledger.carried(key, main or "task.losses")


def _main(transfer: Transfer, where: str, params: dict[str, Any]) -> None:
    to = "task.losses.overlap"
    weights = as_list(params.get("gdl_class_weights"))
    kept = {"class_weights": weights} if len(set(weights)) > 1 else {}
    transfer.put(to, component("generalized_dice_focal", kept))
    if params.get("gdl_focal_weight", 1.0) != 1.0:
        transfer.option(to, "weight", float(params["gdl_focal_weight"]))
    note = "the focal part is that of a softmax; MONAI's takes a sigmoid of each class"
    for parameter in ("gdl_focal_weight", "gdl_class_weights"):
        transfer.ledger.carried(f"{where}.{parameter}", to, note)


Rule = Callable[[dict[str, Any]], tuple[str, dict[str, Any]] | None]


def _interaction(params: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    pairs = {
        "exclusions": as_list(params.get("topological_exclusion")),
        "inclusions": as_list(params.get("topological_inclusion")),
    }
    found: dict[str, Any] = {name: value for name, value in pairs.items() if value}
    if not found:
        return None
    if params.get("topological_min_thick", 1) != 1:
        found["distance"] = params["topological_min_thick"]
    if params.get("topological_connectivity") in (4, 6):
        found["connectivity"] = "face"
    return "topological_interaction", found


def _connectivity(params: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    ignores = params.get("connectivity_ignore_background", True)
    return "connectivity", {} if ignores else {"include_background": True}


def _hausdorff(params: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    background = bool(params.get("hausdorff_include_background", False))
    return "HausdorffDTLoss", {"include_background": background}


def _homology(params: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    chosen = {"cc": [0], "holes": [1]}.get(str(params.get("homology_features")))
    return "persistent_homology", {"dimensions": chosen} if chosen else {}


def _complexity(params: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    chosen = {"cc": [0], "holes": [1]}.get(str(params.get("complexity_features")))
    return "persistent_homology", {"dimensions": chosen} if chosen else {}


def _overlap(params: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    weights = as_list(params.get("gdl_class_weights"))
    kept = {"class_weights": weights} if len(set(weights)) > 1 else {}
    return "generalized_dice_focal", kept


_RULES: Final[dict[str, tuple[str, tuple[str, ...], Rule | None]]] = {
    "topological": ("use_topological_regularization", ("topological_",), _interaction),
    "connectivity": (
        "use_connectivity_regularization",
        ("connectivity_", "kernel_shape", "lambda_density", "lambda_gradient"),
        _connectivity,
    ),
    "hausdorff": ("use_hausdorff_regularization", ("hausdorff_",), _hausdorff),
    "homology": (
        "use_homology_regularization",
        ("homology_", "chunks", "weighting_power", "composite_flag"),
        _homology,
    ),
    "complexity": (
        "use_topological_complexity", ("complexity_", "topological_complexity_"), _complexity,
    ),
    "fractal": ("use_fractal_regularization", ("fractal_",), None),
    "overlap": ("use_gdl_focal_regularization", ("gdl_",), _overlap),
}  # fmt: skip
"""Name of the term -> its switch there, what its parameters begin with, and what it becomes."""

_WEIGHTS: Final = {"complexity": "topological_complexity_weight", "overlap": "gdl_focal_weight"}
_WARMUPS: Final = {"overlap": "gdl_warmup_epochs"}


def _regulariser(
    transfer: Transfer,
    where: str,
    params: dict[str, Any],
    name: str,
    rule: tuple[str, tuple[str, ...], Rule | None],
) -> None:
    switch, starts, make = rule
    belonging = [item for item in params if item.startswith(starts) and item != switch]
    if name == "topological":
        belonging = [item for item in belonging if "complexity" not in item]
    if not params.get(switch, False):
        transfer.imply(f"{where}.{switch}", "a term that is left out is off")
        for item in belonging:
            transfer.imply(f"{where}.{item}", _OFF)
        return
    made = None if make is None else make(params)
    if made is None:
        why = (
            "there is no loss of fractal dimensions here; write your own under plugins"
            if make is None
            else "names no pairs of classes, so that it never cost anything"
        )
        transfer.lose(f"{where}.{switch}", why)
        for item in belonging:
            transfer.lose(f"{where}.{item}", why)
        return
    loss, kept = made
    to = f"task.losses.{name}"
    transfer.put(to, component(loss, kept))
    transfer.ledger.carried(f"{where}.{switch}", to, "see docs/losses.md for what it computes")
    _weight(transfer, where, params, name, to)
    used = {"exclusion", "inclusion", "connectivity", "min_thick", "background", "features"}
    for item in belonging:
        if item.rpartition("_")[2] in used or item.endswith("min_thick"):
            transfer.ledger.carried(f"{where}.{item}", f"{to}.params")
        else:
            transfer.lose(f"{where}.{item}", f"'{loss}' has no such parameter")


def _weight(transfer: Transfer, where: str, params: dict[str, Any], name: str, to: str) -> None:
    """The weight, and its rise over the first epochs."""
    weight_key = _WEIGHTS.get(name, f"{name}_weight")
    epochs_key = _WARMUPS.get(name, f"{name}_warmup_epochs")
    weight, epochs = float(params.get(weight_key, 0.1)), params.get(epochs_key, 10)
    transfer.option(to, "weight", weight)
    transfer.ledger.carried(f"{where}.{weight_key}", f"{to}.weight")
    if not isinstance(epochs, int) or epochs < 1:
        transfer.imply(f"{where}.{epochs_key}", "the weight is constant")
        return
    way = "cosine" if params.get("warmup_schedule") == "cosine" else "linear"
    schedules = transfer.new.setdefault("trainer", {}).setdefault("schedules", {})
    schedules[f"{to}.weight"] = {
        "name": way, "params": {"start": 0.0, "end": weight, "epochs": epochs},
    }  # fmt: skip
    transfer.ledger.carried(f"{where}.{epochs_key}", f"trainer.schedules.{to}.weight")
