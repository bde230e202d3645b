"""Parameters that a config may leave out, because the data or the task know them.

The table is read twice: by the validation of a config, which must not ask for them, and where the
component is built (`imtoolkit.nets.filling`, `imtoolkit.losses.adapting`, `imtoolkit.optim`).
"""

from __future__ import annotations

from typing import Final

FILLED: Final[dict[str, dict[str, str]]] = {
    "net": {
        "in_channels": "in_channels",
        "n_input_channels": "in_channels",
        "in_chans": "in_channels",
        "out_channels": "out_channels",
        "num_classes": "out_channels",
        "n_classes": "out_channels",
        "out_classes": "out_channels",
        "spatial_dims": "spatial_dims",
        "dimensions": "spatial_dims",
        "img_size": "image_size",
        "image_size": "image_size",
        "input_image_size": "image_size",
        "in_shape": "image_shape",
        "input_shape": "image_size",
        "classes": "out_channels",
        "out_shape": "out_shape",
        "in_features": "in_channels",
        "out_features": "out_channels",
        "num_features": "in_channels",
        "tabular_features": "tabular_features",
    },
    "loss": {
        "spatial_dims": "spatial_dims",
        "dim": "spatial_dims",
        "num_classes": "out_channels",
        "classes": "out_channels",
        "to_onehot_y": "yes",
        "softmax": "yes",
        "use_softmax": "yes",
        "class_weights": "class_weights",
        "weight": "class_weights",
    },
    "optimizer": {"params": "parameters"},
    "scheduler": {
        "optimizer": "optimizer",
        "total_steps": "total_steps",
        "t_total": "total_steps",
        "T_max": "total_steps",
        "max_lr": "learning_rate",
        "max_seconds": "max_seconds",
        "elapsed": "elapsed",
    },
    "schedule": {"epochs": "epochs"},
    "metric": {"classes": "classes", "num_classes": "out_channels", "tolerance": "tolerance"},
    "postprocess": {"classes": "classes"},
    "transform": {"sample": "sample"},  # what a plain function of a plugin is given
    "callback": {"save_dir": "run_folder", "folder": "run_folder"},
    "logger": {"save_dir": "run_folder", "folder": "run_folder"},
}
"""Kind of component -> name of a parameter -> the fact that fills it."""


def is_filled(kind: str, parameter: str) -> bool:
    """Tell whether a parameter may be left out in a config.

    Example:
        >>> is_filled("net", "in_channels"), is_filled("net", "channels")
        (True, False)
    """
    return parameter in FILLED.get(kind, {})
