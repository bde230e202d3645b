"""The old ``criterion``: ours where a loss of ours is the same, MONAI's and torch's otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .transfer import Transfer, as_list, component

_USUAL: Final = {
    "reduction": ("mean", None),
    "softmax": (True, False, None),
    "sigmoid": (False, None),
    "to_onehot_y": (True, False, None),
    "squared_pred": (False, None),
    "jaccard": (False, None),
    "other_act": (None,),
}
"""Parameter -> values that say nothing: forms of prediction and target are told from the loss."""

OURS: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "MSELoss": ("mse", {}),
    "L1Loss": ("l1", {}),
    "SmoothL1Loss": ("smooth_l1", {"beta": "beta"}),
    "HuberLoss": ("huber", {"delta": "delta"}),
    "CrossEntropyLoss": (
        "cross_entropy", {"weight": "class_weights", "label_smoothing": "label_smoothing"},
    ),
    "PixelWiseCrossEntropyLoss": ("cross_entropy", {"class_weights": "class_weights"}),
    "BCEWithLogitsLoss": ("bce", {}),
    "BCELoss": ("bce", {}),
    "DiceLoss": ("dice", {"include_background": "include_background"}),
    "DiceCELoss": (
        "dice_ce",
        {"include_background": "include_background", "lambda_dice": "lambda_dice",
         "lambda_ce": "lambda_ce", "weight": "class_weights", "ce_weight": "class_weights"},
    ),
    "DiceFocalLoss": (
        "dice_focal",
        {"include_background": "include_background", "lambda_dice": "lambda_dice",
         "lambda_focal": "lambda_focal", "gamma": "gamma", "focal_weight": "class_weights",
         "weight": "class_weights"},
    ),
    "FocalLoss": ("focal", {"gamma": "gamma", "weight": "class_weights"}),
    "GeneralizedDiceLoss": (
        "generalized_dice", {"include_background": "include_background", "batch": "batch"},
    ),
    "GeneralizedDiceFocalLoss": (
        "generalized_dice_focal",
        {"include_background": "include_background", "gamma": "gamma",
         "lambda_gdl": "lambda_gdl", "lambda_focal": "lambda_focal",
         "focal_weight": "class_weights", "weight": "class_weights"},
    ),
    "SSIMLoss": ("ssim", {}),
    "lovasz_softmax": ("lovasz", {}),
    "lovasz_hinge": ("lovasz", {}),
}  # fmt: skip
"""Loss there -> loss here that honours cost maps, and parameter there -> parameter here."""

OF_IMAGES: Final = ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "SSIMLoss", "PSNRLoss")
"""Losses that compare images; all others compare labels."""

REGULARIZED: Final = "RegularizedGeneralizedDiceFocalLoss"


def move_criterion(transfer: Transfer) -> None:
    """Account for the criterion of a net that learns by one loss, or by a weighted list."""
    key = "model.criterion"
    raw = transfer.get(key)
    several = raw if isinstance(raw, list) else None
    if isinstance(raw, Mapping) and isinstance(raw.get("losses"), list):
        key, several = f"{key}.losses", raw["losses"]
    if several is not None:
        for place, term in enumerate(several):
            _term(transfer, f"{key}.{place}", term, f"loss_{place + 1}")
        return
    _, name, _ = transfer.component(key)
    if name == REGULARIZED:
        from .regularizers import move_regularized

        move_regularized(transfer, key)
    elif name:
        move_loss(transfer, key, "task.loss")


def _term(transfer: Transfer, key: str, raw: Any, name: str) -> None:
    to = f"task.losses.{name}"
    move_loss(transfer, key, to)
    for option in ("weight", "warmup_steps"):
        if isinstance(raw, Mapping) and raw.get(option) is not None:
            transfer.option(to, option, raw[option])
            transfer.ledger.carried(f"{key}.{option}", f"{to}.{option}")


def move_loss(transfer: Transfer, key: str, to: str) -> None:
    """Account for one loss."""
    module, name, params = transfer.component(key)
    if params.pop("use_costmap", None) is not None:
        transfer.imply(
            f"{key}.params.use_costmap", "cost maps count wherever the source finds them"
        )
    for parameter in [item for item in params if item in _USUAL]:
        if params[parameter] in _USUAL[parameter]:
            params.pop(parameter)
            transfer.imply(
                f"{key}.params.{parameter}", "each loss is given what form of data it expects"
            )
    if name in OURS and _fits(params, name):
        _ours(transfer, key, to, name, params)
    elif module.startswith(("monai", "torch.nn")) and transfer.entry("loss", name) is not None:
        kept = transfer.known_params(key, to, "loss", name, params)
        transfer.put(to, component(name, kept))
        transfer.ledger.carried(key, to)
    else:
        default = "dice_ce" if transfer.facts.labels else "mse"
        transfer.put(to, default)
        transfer.lose(
            key,
            f"'{module}.{name}' is code of another package: '{default}' stands in its place. Put "
            "it into a file of your own and name that under plugins",
        )
        transfer.remark(f"the loss '{name}' was replaced by '{default}'")


def _fits(params: Mapping[str, Any], name: str) -> bool:
    return set(params) <= {*OURS[name][1], "ignore_index", "one_hot_gt", "batch"}


def _ours(transfer: Transfer, key: str, to: str, name: str, params: Mapping[str, Any]) -> None:
    ours, names = OURS[name]
    kept: dict[str, Any] = {}
    for parameter, value in params.items():
        place = f"{key}.params.{parameter}"
        if parameter == "ignore_index":
            transfer.lose(place, "pixels are left out by a cost map that is 0 there")
        elif value is None or (parameter == "one_hot_gt" and not value):
            transfer.imply(place, "says nothing")
        elif names.get(parameter) == "class_weights":
            _class_weights(transfer, place, value, kept, to)
        elif parameter in names:
            kept[names[parameter]] = value
            transfer.ledger.carried(place, f"{to}.params.{names[parameter]}")
        else:
            transfer.lose(place, f"'{ours}' has no such parameter")
    note = _difference(name)
    transfer.put(to, component(ours, kept))
    transfer.ledger.carried(key, to, note)


def _class_weights(
    transfer: Transfer, place: str, value: Any, kept: dict[str, Any], to: str
) -> None:
    classes = transfer.new.get("task", {}).get("classes", [])
    weights = as_list(value)
    if len(set(weights)) == 1:
        transfer.imply(place, "all classes weigh the same")
    elif classes and len(weights) != len(classes):
        transfer.lose(place, f"{len(weights)} numbers do not fit {len(classes)} classes")
    else:
        kept["class_weights"] = [float(item) for item in weights]
        transfer.ledger.carried(place, f"{to}.params.class_weights")


def _difference(name: str) -> str:
    if name == "GeneralizedDiceFocalLoss":
        return "the focal part is that of a softmax; MONAI's takes a sigmoid of each class"
    if name in ("BCEWithLogitsLoss", "BCELoss"):
        return "takes logits"
    return ""
