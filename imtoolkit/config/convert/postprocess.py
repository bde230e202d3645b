"""Old post-processing: steps of ``inference.postprocess``, and what the task does anyway."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from .embedseg import move_clustering
from .transfer import Transfer, as_list

Step = dict[str, Any]
Made = tuple[list[Step], str]
Rule = Callable[[Transfer, str, Mapping[str, Any]], Made]
"""Returns the steps here, none where there is none to write, and what differs."""


def move_postprocess(transfer: Transfer) -> None:
    """Account for the steps that made a result of the net's output."""
    steps: list[Step] = []
    for place in range(len(as_list(transfer.get("data.postprocess")))):
        key = f"data.postprocess.{place}"
        module, name, params = transfer.component(key)
        made, note = _RULES[name](transfer, key, params) if name in _RULES else ([], "")
        if made and all(transfer.entry("postprocess", step["name"]) for step in made):
            transfer.ledger.carried(key, f"inference.postprocess.{len(steps)}", note)
            steps += made
        transfer.lose(
            key,
            f"'{module}.{name}' has no counterpart among the steps of inference.postprocess, see "
            "imtoolkit components postprocess",
        )
    if steps:
        transfer.put("inference.postprocess", steps)


def _extract(transfer: Transfer, key: str, params: Mapping[str, Any]) -> Made:
    """One channel of the output, above a cutoff."""
    where = f"{key}.params"
    transfer.imply(f"{where}.batch_dim", "images come one by one")
    channel, cutoff = params.get("channel", 0), params.get("cutoff")
    labels = transfer.facts.category in ("segmentation", "probabilistic_unet")
    classes = transfer.new.get("task", {}).get("classes", [])
    if labels and not (isinstance(channel, int) and channel < len(classes)):
        transfer.lose(key, f"there is no class number {channel}")
        return [], ""
    name = classes[channel] if labels else str(channel)
    if cutoff is None:
        if labels:
            transfer.put("inference.probabilities", True)
            note = "the probability of each class is written beside the labels"
            transfer.ledger.carried(key, "inference.probabilities", note)
        transfer.imply(key, "the image is the result")
        return [], ""
    kept: dict[str, Any] = {"of": name}
    if isinstance(cutoff, str):
        kept["method"] = cutoff.lower()
        note = "found in the map of probabilities" if labels else ""
    else:
        kept["value"] = float(cutoff)
        note = (
            "of the probability; there of the output of the net, before softmax" if labels else ""
        )
    if not labels or len(classes) <= 2:
        return [{"name": "threshold", "params": kept}], note
    only = {"maps": ["above"], "numbers": [channel]}
    return [
        {"name": "threshold", "params": {**kept, "to": "above"}},
        {"name": "merge_classes", "params": only},
    ], note


def _class_map(transfer: Transfer, key: str, params: Mapping[str, Any]) -> Made:
    del params
    transfer.imply(key, "the class of each pixel is the result of a segmentation")
    return [], ""


def _prune(transfer: Transfer, key: str, params: Mapping[str, Any]) -> Made:
    return [{"name": "remove_small", "params": {"size": params.get("min_size", 10)}}], ""


def _holes(transfer: Transfer, key: str, params: Mapping[str, Any]) -> Made:
    kept: dict[str, Any] = {}
    if params.get("hole_max") is not None:
        kept["size"] = params["hole_max"]
    if params.get("fill_2d", True):
        kept["by_slice"] = transfer.facts.dims == 3
    if params.get("hole_min"):
        transfer.lose(f"{key}.params.hole_min", "holes are filled from the smallest on")
    return [{"name": "fill_holes", "params": {k: v for k, v in kept.items() if v is not False}}], ""


def _size_filter(transfer: Transfer, key: str, params: Mapping[str, Any]) -> Made:
    if params.get("method", "3D") != "3D" and transfer.facts.dims == 3:
        transfer.lose(f"{key}.params.method", "sizes are those of objects in 3D")
    return [{"name": "remove_small", "params": {"size": params.get("min_size", 0)}}], ""


def _discrete(transfer: Transfer, key: str, params: Mapping[str, Any]) -> Made:
    """Post-processing of MONAI: the most probable class, or one above a threshold."""
    classes = transfer.new.get("task", {}).get("classes", [])
    value = params.get("threshold")
    if value is None or isinstance(value, bool) or len(classes) != 2:
        transfer.imply(key, "the class of each pixel is the result of a segmentation")
        return [], ""
    return [{"name": "threshold", "params": {"of": classes[1], "value": float(value)}}], ""


def _activation(transfer: Transfer, key: str, params: Mapping[str, Any]) -> Made:
    del params
    transfer.imply(key, "steps of inference.postprocess read probabilities")
    return [], ""


def _monai_small(transfer: Transfer, key: str, params: Mapping[str, Any]) -> Made:
    del transfer, key
    return [{"name": "remove_small", "params": {"size": params.get("min_size", 64)}}], ""


def _fill(transfer: Transfer, key: str, params: Mapping[str, Any]) -> Made:
    del transfer, key, params
    return [{"name": "fill_holes", "params": {}}], ""


def _parts(transfer: Transfer, key: str, params: Mapping[str, Any]) -> Made:
    del transfer, key, params
    return [{"name": "connected_components", "params": {}}], "an object for each connected part"


def _thin(transfer: Transfer, key: str, params: Mapping[str, Any]) -> Made:
    del transfer, key, params
    return [{"name": "thin", "params": {}}], ""


def _cluster(transfer: Transfer, key: str, params: Mapping[str, Any]) -> Made:
    return [move_clustering(transfer, key, params)], ""


def _unpad(transfer: Transfer, key: str, params: Mapping[str, Any]) -> Made:
    del params
    transfer.imply(key, "what preprocessing adds to an image is cut off its prediction")
    return [], ""


_RULES: Final[dict[str, Rule]] = {
    "extract_segmentation": _extract,
    "generate_classmap": _class_map,
    "prune_labels_by_size": _prune,
    "hole_filling": _holes,
    "size_filter": _size_filter,
    "topology_preserving_thinning": _thin,
    "generate_instance_clusters": _cluster,
    "RemovePadFromPrediction": _unpad,
    "AsDiscrete": _discrete,
    "Activations": _activation,
    "RemoveSmallObjects": _monai_small,
    "FillHoles": _fill,
    "label": _parts,
}
"""Name of a function there -> what makes it a step here."""
