"""Old ``preprocess`` and ``augmentation`` lists: loading, patches, and what is done to pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .patches import CROPS, later_crop, move_crop
from .reading import move_loader
from .transfer import Transfer, as_list, component

KEYS: Final = {"IM": "image", "GT": "target", "CM": "weight"}
"""Key of a sample there -> key here."""

_MADE_HERE: Final = ("CE", "CL")
"""Images of centres and classes, which EmbedSeg's preparation wrote."""

_IMPLIED: Final = {
    "AddChannel": "images always have their channels first here",
    "EnsureChannelFirst": "images always have their channels first here",
    "AsChannelFirst": "images always have their channels first here",
    "EnsureType": "a batch always holds tensors here",
    "ToTensor": "a batch always holds tensors here",
    "ToNumpy": "a batch always holds tensors here",
    "SqueezeDim": "axes of size 1 go by themselves here",
    "CastToType": "images are float32 here, and targets keep the type that the task needs",
    "SelectItems": "a batch holds what the task needs",
    "DeleteItems": "a batch holds what the task needs",
}


@dataclass(frozen=True)
class Step:
    """One transform of the old file.

    Attributes:
        key: Its key, such as ``data.preprocess.2``.
        section: ``preprocess`` or ``augmentation``.
        module: Module that it came from.
        name: Its name without the ``d`` of dictionary transforms.
        params: Its parameters without ``keys``.
        keys: What it was applied to, in our words.
    """

    key: str
    section: str
    module: str
    name: str
    params: dict[str, Any]
    keys: tuple[str, ...]


Rule = Callable[[Transfer, Step], bool]


def move_transforms(transfer: Transfer) -> None:
    """Account for every transform of the old file, in its order."""
    for section in ("preprocess", "augmentation"):
        for place in range(len(as_list(transfer.get(f"data.{section}")))):
            _move(transfer, _step(transfer, section, place))


def _step(transfer: Transfer, section: str, place: int) -> Step:
    key = f"data.{section}.{place}"
    module, name, params = transfer.component(key)
    named = as_list(params.pop("keys", None))
    keys = tuple(KEYS[item] for item in named if item in KEYS)
    unknown = [str(item) for item in named if item not in KEYS]
    foreign = [item for item in unknown if item not in _MADE_HERE]
    if foreign:
        transfer.lose(
            f"{key}.params.keys",
            f"a sample holds image, target and weight (IM, GT, CM); {', '.join(foreign)} has no "
            "place. Put further images into channels of the image or the target",
        )
    elif unknown:
        drawn = " and ".join(unknown)
        transfer.imply(f"{key}.params.keys", f"{drawn} are made from the labels in the loader")
    bare = _bare(transfer, module, name)
    if not keys and section == "preprocess" and not transfer.facts.trains:
        keys = ("image",)  # at inference transforms work on the image alone
    return Step(key, section, module, bare, params, _without_numbers(transfer, keys))


def _bare(transfer: Transfer, module: str, name: str) -> str:
    """Return the name of a transform of MONAI without the end that its form for samples has."""
    if not module.startswith("monai"):
        return name
    if transfer.index.get("transform", f"{name}d") is not None:
        return name  # `DivisiblePad` ends in a d and is the form for arrays
    for end in ("Dict", "D", "d"):
        if name.endswith(end):
            return name.removesuffix(end)
    return name


def _without_numbers(transfer: Transfer, keys: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out a target that stands in a table here: no transform works on it."""
    return tuple(key for key in keys if key != "target" or transfer.facts.target_is_image)


def _move(transfer: Transfer, step: Step) -> None:
    if step.name == "LoadImage":
        move_loader(transfer, step.key, step.params, step.keys)
        return
    if step.name in _IMPLIED:
        transfer.imply(step.key, _IMPLIED[step.name])
        return
    if step.name in CROPS:
        move_crop(transfer, step.key, step.name, step.params)
        return
    rule = RULES.get(step.name)
    if rule is not None and rule(transfer, step):
        return
    _keep(transfer, step)


# --- what changes values and grids ----------------------------------------------------------------


def _add(
    transfer: Transfer,
    step: Step,
    to: str,
    name: str,
    params: Mapping[str, Any],
    note: str = "",
    *,
    values: bool = True,
) -> bool:
    """Add a transform of ours for one of the old file.

    Args:
        transfer: The conversion.
        step: The old transform.
        to: ``preprocess`` or ``augment``.
        name: Its name here.
        params: Its parameters here.
        note: What differs.
        values: Whether it changes values, so that it has keys; what moves pixels moves all alike.
    """
    keys = _with_values(transfer, step) if values else step.keys
    if values and not keys:
        transfer.imply(step.key, _LABELS)
        return True
    usual = keys == ("image",) or transfer.facts.unpaired
    full = params if usual or not values else {**params, "keys": list(keys)}
    if keys != step.keys:
        note = f"{note}; {_LABELS}".removeprefix("; ")
    made = _for_domain(transfer, keys, component(name, full))
    place = transfer.append(f"data.{to}", made)
    transfer.ledger.carried(step.key, place, note)
    return True


def _for_domain(transfer: Transfer, keys: tuple[str, ...], made: Any) -> Any:
    """Keep a transform to one of two unpaired domains, where it was for IM or GT alone."""
    if len(keys) != 1 or not transfer.facts.unpaired:
        return made
    domain = "A" if keys[0] == "image" else "B"
    inner = made if isinstance(made, dict) else {"name": made, "params": {}}
    return {"name": "for_domain", "params": {"domain": domain, "transform": inner}}


_LABELS: Final = "labels and cost maps keep their values here"


def _with_values(transfer: Transfer, step: Step) -> tuple[str, ...]:
    """Return the keys whose values may be changed: no labels, and no cost maps."""
    fixed = {"weight", "target"} if transfer.facts.labels else {"weight"}
    return tuple(key for key in step.keys if key not in fixed)


def _has(step: Step, *allowed: str) -> bool:
    """Tell whether a step has no parameters but these (and its type, which is implied)."""
    return set(step.params) <= {*allowed, "dtype", "allow_missing_keys"}


def _percentiles(transfer: Transfer, step: Step) -> bool:
    low, high = step.params.get("b_min"), step.params.get("b_max")
    if (low, high) != (0, 1) or step.params.get("relative"):
        return False
    if not _has(step, "lower", "upper", "b_min", "b_max", "clip", "relative", "channel_wise"):
        return False
    params = {
        "lower": step.params.get("lower", 0),
        "upper": step.params.get("upper", 100),
        **({"clip": True} if step.params.get("clip") else {}),
        "channel_wise": bool(step.params.get("channel_wise", False)),
    }
    return _add(transfer, step, "preprocess", "normalize_percentiles", params)


def _zscore(transfer: Transfer, step: Step) -> bool:
    if not _has(step, "nonzero", "channel_wise", "subtrahend", "divisor"):
        return False
    if step.params.get("subtrahend") is not None or step.params.get("divisor") is not None:
        return False
    params: dict[str, Any] = {"channel_wise": bool(step.params.get("channel_wise", False))}
    if step.params.get("nonzero"):
        params["nonzero"] = True
    return _add(transfer, step, "preprocess", "normalize_zscore", params)


def _torchio_zscore(transfer: Transfer, step: Step) -> bool:
    """The first releases normalised by torchio, which took all images of a sample alike."""
    if step.module != "torchio" or step.params:
        return False
    keys = ("image",) if transfer.facts.labels else ("image", "target")
    whole = Step(step.key, step.section, step.module, step.name, {}, keys)
    return _add(transfer, whole, "preprocess", "normalize_zscore", {"channel_wise": False})


def _range(transfer: Transfer, step: Step) -> bool:
    if not _has(step, "a_min", "a_max", "b_min", "b_max", "clip"):
        return False
    if (step.params.get("b_min"), step.params.get("b_max")) != (0, 1):
        return False
    params = {
        "low": step.params.get("a_min"),
        "high": step.params.get("a_max"),
        **({"clip": True} if step.params.get("clip") else {}),
    }
    return _add(transfer, step, "preprocess", "normalize_range", params)


def _minmax(transfer: Transfer, step: Step) -> bool:
    if not _has(step, "minv", "maxv", "factor", "channel_wise") or step.params.get("channel_wise"):
        return False
    if step.params.get("factor") is not None:
        return False
    if (step.params.get("minv", 0), step.params.get("maxv", 1)) != (0, 1):
        return False
    return _add(transfer, step, "preprocess", "normalize_range", {})


def _centre(transfer: Transfer, step: Step) -> bool:
    note = (
        "mean and spread of the 32 slices in the middle, as there; a stack with fewer slices "
        "counts as a whole instead of being refused"
    )
    params = {"slices": 32, "by": "zscore", "centre": "middle"}
    if step.params.get("z_center") is not None:
        transfer.lose(
            f"{step.key}.params.z_center",
            "the centre is the middle of each stack, or its sharpest slice with centre: focus",
        )
    transfer.imply(f"{step.key}.params.min_z", "a stack of any depth is taken")
    return _add(transfer, step, "preprocess", "normalize_center_slice", params, note)


def _divisible(transfer: Transfer, step: Step) -> bool:
    multiple = step.params.get("k", step.params.get("multiple_base", 8))
    mode = str(step.params.get("mode", "constant"))
    if step.params.get("pad_value") == "mean":
        mode = "mean"
    note = "image, target and cost map are padded alike; predictions are cut back"
    for parameter in ("method", "pad_value", "value", "constant_values", "constant_value"):
        transfer.imply(f"{step.key}.params.{parameter}", "half of the padding on each side")
    if "GTAdjust" in step.name or step.params.get("n_coord_dims") is not None:
        transfer.lose(
            f"{step.key}.params.n_coord_dims",
            "numbers in a table do not move with the padding: give them in pixels of the file",
        )
    return _add(
        transfer, step, "preprocess", "pad_to_multiple",
        {"multiple": multiple, "mode": mode}, note, values=False,
    )  # fmt: skip


def _pad_z(transfer: Transfer, step: Step) -> bool:
    mode = "mean" if step.params.get("pad_value") == "mean" else "constant"
    params = {"slices": step.params.get("target_size", 64), "mode": mode}
    note = "image, target and cost map are padded alike; predictions are cut back"
    return _add(transfer, step, "preprocess", "pad_z", params, note, values=False)


def _stains(transfer: Transfer, step: Step) -> bool:
    note = (
        "differs: the amounts of the two stains become the channels, instead of a picture with "
        "normalised colours; the net's input channels follow by themselves"
    )
    for parameter in ("Io", "alpha", "beta", "return_unmix_results"):
        transfer.lose(
            f"{step.key}.params.{parameter}",
            "stain_separation uses published colours of the stains, not those of each picture",
        )
    white = step.params.get("Io", 255)
    params = {"stains": ["hematoxylin", "eosin"], "white": float(white)}
    return _add(transfer, step, "preprocess", "stain_separation", params, note, values=False)


def _spatial_pad(transfer: Transfer, step: Step) -> bool:
    size = as_list(step.params.get("spatial_size"))
    steps = as_list(transfer.get(f"data.{step.section}"))
    if later_crop(steps, int(step.key.rpartition(".")[2])) != size:
        return False
    transfer.imply(step.key, "an image smaller than a patch is padded to its size")
    return True


def _flip(transfer: Transfer, step: Step) -> bool:
    """One axis: equal. All axes at once: MONAI's, since ours mirrors each axis by itself."""
    axis = step.params.get("spatial_axis")
    dims = transfer.facts.dims
    single = as_list(axis)
    if len(single) != 1 or dims is None or not _has(step, "spatial_axis", "prob"):
        return False
    letters = "ZYX"[-dims:]
    if not isinstance(single[0], int) or not -dims <= single[0] < dims:
        return False
    if not _moves_all(step):
        return False
    params = {"axes": [letters[single[0]]], "prob": step.params.get("prob", 0.1)}
    return _add(transfer, step, "augment", "flips", params, values=False)


def _rotate90(transfer: Transfer, step: Step) -> bool:
    """Turns in the plane of Y and X: ours draws four turns of which one is none."""
    prob = step.params.get("prob", 0.1)
    dims, axes = transfer.facts.dims, as_list(step.params.get("spatial_axes", [0, 1]))
    plane = {2: ([0, 1], [1, 0], [-2, -1]), 3: ([1, 2], [2, 1], [-2, -1])}.get(dims or 0, ())
    if axes not in plane or step.params.get("max_k", 3) != 3 or prob > 0.75:
        return False
    if not _moves_all(step) or not _has(step, "spatial_axes", "max_k", "prob"):
        return False
    note = "a quarter of the turns drawn here is no turn, so that `prob` is 4/3 of the old one"
    params = {"prob": round(prob * 4 / 3, 4)}
    return _add(transfer, step, "augment", "rotations_90", params, note, values=False)


def _moves_all(step: Step) -> bool:
    return "image" in step.keys


RULES: Final[dict[str, Rule]] = {
    "ZNormalization": _torchio_zscore,
    "ScaleIntensityRangePercentiles": _percentiles,
    "NormalizeIntensity": _zscore,
    "ScaleIntensityRange": _range,
    "ScaleIntensity": _minmax,
    "norm_around_center": _centre,
    "DivisiblePad": _divisible,
    "RecordShapeAndPad": _divisible,
    "DivisiblePadWithGTAdjustd": _divisible,
    "pad_to_multiple": _divisible,
    "pad_z": _pad_z,
    "normalize_staining": _stains,
    "SpatialPad": _spatial_pad,
    "RandFlip": _flip,
    "RandRotate90": _rotate90,
}
"""Name of a transform there -> what makes it one of ours; false where MONAI's own is kept."""


def _keep(transfer: Transfer, step: Step) -> None:
    """Keep a transform of MONAI under its own name, for samples."""
    name = f"{step.name}d"
    entry = transfer.entry("transform", name) if step.module.startswith("monai") else None
    if entry is None:
        _lose(transfer, step)
        return
    if not step.keys:
        transfer.imply(step.key, "it works on a target that stands in a table here")
        return
    random = bool(entry.random)
    of_values = ".intensity." in entry.path
    keys = _with_values(transfer, step) if of_values else step.keys
    if not keys:
        transfer.imply(step.key, _LABELS)
        return
    to = "augment" if random or step.section == "augmentation" else "preprocess"
    params: dict[str, Any] = {"keys": ["image"] if transfer.facts.unpaired else list(keys)}
    if "weight" in keys:
        params["allow_missing_keys"] = True  # a source may have no cost maps
        step.params.pop("allow_missing_keys", None)
    place = f"data.{to}.{len(as_list(transfer.new.get('data', {}).get(to)))}"
    single = transfer.facts.unpaired and len(keys) == 1
    inside = f"{place}.params.transform" if single else place
    kept = transfer.known_params(step.key, inside, "transform", name, step.params)
    made = _for_domain(transfer, keys, component(name, {**params, **kept}))
    transfer.append(f"data.{to}", made)
    note = ""
    if random and step.section == "preprocess":
        note = "random, so that it is for training only; there it changed validation too"
    elif keys != step.keys:
        note = _LABELS
    elif step.name == "RandFlip":
        note = "mirrors all axes at once, as there; `flips` mirrors each axis by itself"
    transfer.ledger.carried(step.key, place, note)


def _lose(transfer: Transfer, step: Step) -> None:
    known = transfer.entry("transform", step.name)
    where = f"{step.module}.{step.name}".strip(".")
    if step.module.startswith("torchio"):
        hint = "the transforms of torchio are not used here; take ours or MONAI's of that purpose"
    elif step.module.startswith("monai") and known is None:
        hint = f"the installed MONAI has no transform '{step.name}d'"
    else:
        hint = (
            f"'{where}' is code of another package: put it into a file of your own and name that "
            "under plugins; a function that takes and returns a sample is a transform"
        )
    transfer.lose(step.key, hint)
