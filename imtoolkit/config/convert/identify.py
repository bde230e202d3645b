"""What kind of file an old YAML is: framework, direction, and the category of the task here."""

from __future__ import annotations

from typing import Any, Final

from imtoolkit.core.errors import ConfigError, Problem, did_you_mean, listed

from .losses import OF_IMAGES
from .old import OldFile
from .transfer import Facts

FRAMEWORKS: Final = ("FCN", "pix2pix", "cyclegan", "embedseg", "ProbUnet", "nnUnet")
"""Values of ``model.framework`` that are converted."""

CATEGORIES: Final = (
    *("segmentation", "enhancement", "regression", "embedseg", "pix2pix", "cyclegan"),
    "probabilistic_unet",
)
"""Categories that old files are turned into."""

_GONE: Final = {
    "dints": "it searched for a net, which imtoolkit does not; take the net that it found",
    "cpnet": "Cellpose was never released with it",
}
_MODES: Final = ("train", "train-multishape", "inference", "uncertainty_map")
_FIXED: Final = {"pix2pix": "pix2pix", "cyclegan": "cyclegan", "embedseg": "embedseg"}
_POSSIBLE: Final = {
    "FCN": ("segmentation", "enhancement", "regression"),
    "nnUnet": ("segmentation", "regression"),
    "ProbUnet": ("probabilistic_unet", "regression"),
    **{name: (category,) for name, category in _FIXED.items()},
}
"""Framework -> the categories that it can become."""


def identify(old: OldFile, category: str | None = None) -> Facts:
    """Tell what an old file is.

    Args:
        old: The file.
        category: Category of the task, where the user decides it.

    Raises:
        ConfigError: If it is no file of mmv_im2im, or one of an unknown framework.
    """
    _require_sections(old)
    framework = _framework(old)
    trains = _trains(old)
    numbers = str(old.get("model.net.params.task", "")) == "regression"
    found = category or _category(old, framework, numbers=numbers)
    if found not in CATEGORIES:
        hint = did_you_mean(found, CATEGORIES)
        message = (
            f"'{found}' is no category that old files become.{hint} Known: {listed(CATEGORIES)}"
        )
        raise ConfigError(message)
    if category is not None and found not in _POSSIBLE.get(framework, (found,)):
        becomes = listed(_POSSIBLE[framework])
        message = f"--category {category}: the framework '{framework}' becomes {becomes}"
        raise ConfigError(message)
    dims = old.get(
        "model.net.params.spatial_dims", old.get("model.net.generator.params.spatial_dims")
    )
    return Facts(
        framework=framework,
        category=found,
        trains=trains,
        dims=dims if dims in (2, 3) else _dims_of_name(old),
        target_is_image=found != "regression",
    )


def _require_sections(old: OldFile) -> None:
    name = str(old.path)
    if {"task", "data"} <= set(old.root) and "model" not in old.root:
        message = "is a config of imtoolkit already: there is nothing to convert"
        raise ConfigError(Problem(message, file=name))
    missing = [part for part in ("data", "model") if not isinstance(old.root.get(part), dict)]
    if missing:
        there = listed([str(key) for key in old.root]) or "nothing"
        message = (
            f"has no section {listed(missing)}; a file of mmv_im2im has 'mode', 'data', 'model' "
            f"and 'trainer', and this one has {there}"
        )
        raise ConfigError(Problem(message, file=name))


def _framework(old: OldFile) -> str:
    key = "model.framework"
    value = old.get(key)
    if value is None:
        message = f"is missing; it is one of {listed(FRAMEWORKS)}"
        raise ConfigError(Problem(message, where=key, file=str(old.path)))
    by_name = {name.lower(): name for name in FRAMEWORKS}
    if str(value).lower() in by_name:
        return by_name[str(value).lower()]
    reason = _GONE.get(str(value).lower())
    if reason is not None:
        raise ConfigError(old.problem(key, f"the framework '{value}' has no counterpart: {reason}"))
    hint = did_you_mean(str(value), FRAMEWORKS)
    message = f"unknown framework '{value}'.{hint} Known: {listed(FRAMEWORKS)}"
    raise ConfigError(old.problem(key, message))


def _trains(old: OldFile) -> bool:
    mode = old.get("mode")
    if mode is None:
        predicts = old.get("data.inference_input") is not None
        return not (predicts or old.get("model.checkpoint") is not None)
    if str(mode).lower() not in _MODES:
        hint = did_you_mean(str(mode), _MODES)
        message = f"unknown mode '{mode}'.{hint} Known: {listed(_MODES)}"
        raise ConfigError(old.problem("mode", message))
    return str(mode).lower().startswith("train")


def _category(old: OldFile, framework: str, *, numbers: bool) -> str:
    if framework in _FIXED:
        return _FIXED[framework]
    if numbers:
        return "regression"
    if framework == "ProbUnet":
        return "probabilistic_unet"
    if framework == "nnUnet":
        return "segmentation"
    return _of_fcn(old)


def _of_fcn(old: OldFile) -> str:
    """Tell labels from images: by the loss, or in inference by what is made of the output."""
    name = str(_criterion(old.get("model.criterion")) or "")
    if name:
        return "enhancement" if name in OF_IMAGES else "segmentation"
    steps = old.get("data.postprocess", [])
    if isinstance(steps, list) and steps:
        return "segmentation"
    outputs = old.get("model.net.params.out_channels", old.get("model.net.params.n_classes", 1))
    return "segmentation" if isinstance(outputs, int) and outputs > 1 else "enhancement"


def _criterion(raw: Any) -> Any:
    if isinstance(raw, dict) and isinstance(raw.get("losses"), list):
        raw = raw["losses"]
    if isinstance(raw, list):
        raw = raw[0] if raw else None
    return raw.get("func_name") if isinstance(raw, dict) else None


def _dims_of_name(old: OldFile) -> int | None:
    named = " ".join(
        str(old.get(f"model.{part}.{word}", ""))
        for part in ("net", "criterion", "net.generator")
        for word in ("module_name", "func_name")
    ).lower()
    if "3d" in named or "unet_xy_zoom" in named:
        return 3
    return 2 if "2d" in named else None
