"""The names under which metrics of a config are logged, as far as they are known without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from imtoolkit.config.limits import (
    DOMAIN_WORDS,
    INSTANCE_PARTS,
    METRICS,
    OBJECTS,
    SET_DISTANCES,
    TERMS,
    VALIDATED,
)

from .values import Values

_WITHOUT_BACKGROUND: Final = ("segmentation", "probabilistic_unet")


def metric_names(values: Values) -> set[str]:
    """Return the names that are logged, or nothing where only building the metrics would tell."""
    category = str(values.get("task.category"))
    if category == "multitask":
        heads = values.get("task.heads") or {}
        found = [_of_goal(str(head.get("kind")), head) for head in heads.values()]
        if any(names is None for names in found):
            return set()
        own = {f"{head}/{name}" for head, names in zip(heads, found, strict=True)
               for name in names or ()}  # fmt: skip
    else:
        plain = values.get("task") or {}
        if plain.get("instances") is not None and category in METRICS:
            category, plain = OBJECTS, {**plain, "classes": None}
        of_goal = _of_goal(category, plain)
        if of_goal is None:
            return set()
        own = of_goal if category != "cyclegan" else _of_domains(of_goal)
    return _with_losses(values, own)


def _of_goal(kind: str, goal: Mapping[str, Any]) -> set[str] | None:
    """Return the metrics of one output, with their parts; ``None`` where they are not known."""
    if kind not in METRICS:
        return None
    given = goal.get("metrics")
    names = list(VALIDATED[kind]) if given is None else [item["name"] for item in given]
    # a parameter may be part of the name, as the percentile is in `hd95`
    known = {*METRICS[kind], *INSTANCE_PARTS}
    if not set(names) <= known or any(item.get("params") for item in given or ()):
        return None
    parts: Sequence[str] = goal.get("classes") or goal.get("columns") or []
    parts = parts[1:] if kind in _WITHOUT_BACKGROUND else parts
    found = {f"{name}/{part}" for name in names for part in INSTANCE_PARTS.get(name, parts)}
    found |= set(names)
    of_objects = [name for name in found if name.partition("/")[0] in INSTANCE_PARTS]
    return {*found, *(f"pooled_{name}" for name in of_objects)}


def _of_domains(own: set[str]) -> set[str]:
    """Return the metrics of two domains: against a true counterpart, after a cycle, as sets."""
    again = {f"{word}_{name}" for word in DOMAIN_WORDS for name in own}
    each = {*again, *SET_DISTANCES}
    return {*own, *each, *(f"{name}/{domain}" for name in each for domain in "ab")}


def _with_losses(values: Values, own: set[str]) -> set[str]:
    known = {"val/loss", "train/loss", *(f"val/{name}" for name in own)}
    terms = list(values.get("task.losses") or {})
    if values.get("task.category") == "probabilistic_unet":
        terms = [*(terms if len(terms) > 1 else []), "reconstruction", "kl"]
    if values.get("task.category") == "multitask":  # a head without a term has one of its name
        terms += list(values.get("task.heads") or {})
    if len(terms) > 1:
        known |= {f"{stage}/loss/{term}" for stage in ("val", "train") for term in terms}
    more = TERMS.get(str(values.get("task.category")), ())
    known |= {f"train/loss/{name}" for name in (*more, *(terms if more else ()))}
    sources = values.get("data.sources") or {}
    if len(sources) > 1:  # each set that validates has names of its own, such as val/lab_b/dice
        of_all = [name.partition("/")[2] for name in known if name.startswith("val/")]
        known |= {f"val/{source}/{name}" for source in sources for name in of_all}
    return known
