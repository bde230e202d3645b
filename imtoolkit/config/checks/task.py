"""Values of the section ``task`` that make no sense, alone or together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from imtoolkit.config.limits import METRICS, VALIDATED
from imtoolkit.core.errors import Problem, did_you_mean, listed

from .values import Values


def _classes(values: Values) -> Iterator[Problem]:
    if values.get("task.category") != "segmentation":
        return
    classes = values.get("task.classes") or []
    if len(classes) < 2:
        message = (
            "'classes' names at least two classes in the order of their labels, background first, "
            f"such as [background, nucleus]; got {classes}"
        )
        yield values.place("task.classes").problem(message)
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        yield values.place("task.classes").problem(f"the class {listed(twice)} stands twice")
    odd = [name for name in classes if not re.fullmatch(r"[^/\s](?:[^/]*[^/\s])?", name)]
    if odd:
        message = f"the class name {listed(odd)} becomes part of metric names and cannot hold '/'"
        yield values.place("task.classes").problem(message)
    weights = values.get("task.class_weights")
    if weights is not None and len(weights) != len(classes):
        message = f"has {len(weights)} numbers for {len(classes)} classes"
        yield values.place("task.class_weights").problem(message)
    elif weights is not None and (min(weights) < 0 or sum(weights) == 0):
        yield values.place("task.class_weights").problem(f"must be positive, got {weights}")


def _roles(values: Values) -> Iterator[Problem]:
    nets = set(values.get("task.nets") or {"net": None})
    optimizers = set(values.get("task.optimizers") or nets)
    for key, known in (("optimizers", nets), ("schedulers", optimizers)):
        for role in values.get(f"task.{key}") or {}:
            if role not in known:
                what = "net" if key == "optimizers" else "optimizer"
                hint = did_you_mean(str(role), known)
                message = (
                    f"there is no {what} named '{role}'.{hint} There is {listed(sorted(known))}"
                )
                yield values.place(f"task.{key}.{role}").problem(message)


def _losses(values: Values) -> Iterator[Problem]:
    losses = values.get("task.losses") or {}
    for name, term in losses.items():
        if term.get("warmup_steps", 0) < 0:
            yield values.place(f"task.losses.{name}.warmup_steps").problem("must be at least 0")
        if "/" in str(name):
            message = f"the name '{name}' becomes part of metric names and cannot hold '/'"
            yield values.place(f"task.losses.{name}").problem(message)
    if losses and all(term.get("weight", 1.0) == 0 for term in losses.values()):
        yield values.place("task.losses").problem("every term has the weight 0: nothing is learnt")


def metric_names(values: Values) -> set[str]:
    """Return the names that are logged, or nothing where only building the metrics would tell."""
    category = str(values.get("task.category"))
    builtin = METRICS.get(category, ())
    given = values.get("task.metrics")
    usual = VALIDATED.get(category, ())
    names = list(usual) if given is None else [item["name"] for item in given]
    # a parameter may be part of the name, as the percentile is in `hd95`
    if not set(names) <= set(builtin) or any(item.get("params") for item in given or ()):
        return set()
    classes = (values.get("task.classes") or [])[1:]
    known = {"val/loss", "train/loss"}
    known |= {f"val/{name}" for name in names}
    known |= {f"val/{name}/{part}" for name in names for part in classes}
    terms = values.get("task.losses") or {}
    if len(terms) > 1:
        known |= {f"{stage}/loss/{term}" for stage in ("val", "train") for term in terms}
    sources = values.get("data.sources") or {}
    if len(sources) > 1:  # each set that validates has names of its own, such as val/lab_b/dice
        own = [name.partition("/")[2] for name in known if name.startswith("val/")]
        known |= {f"val/{source}/{name}" for source in sources for name in own}
    return known


CHECKS: Final = (_classes, _roles, _losses)
"""All of them, in the order in which they are made."""
