"""Losses that honour a cost map, MONAI's and torch's by name, and their weighted sum."""

BUILTINS: dict[str, dict[str, str]] = {
    "loss": {
        "dice": "imtoolkit.losses.dice:DiceLoss",
        "cross_entropy": "imtoolkit.losses.cross_entropy:CrossEntropyLoss",
        "focal": "imtoolkit.losses.cross_entropy:FocalLoss",
        "dice_ce": "imtoolkit.losses.dice:DiceCELoss",
        "dice_focal": "imtoolkit.losses.dice:DiceFocalLoss",
    }
}
