"""Values of a config that have the right type and still make no sense, alone or together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from imtoolkit.core.errors import Problem, did_you_mean, listed

from .limits import AXES, CHOICES, METRICS, RANGES, STRATEGIES, VALIDATED
from .nodes import Node, Place
from .sections import PatchConfig


class _Values:
    """Reads values of the tree by dotted keys."""

    def __init__(self, root: Node) -> None:
        self.root = root

    def node(self, key: str) -> Node | None:
        node: Node | None = self.root
        for part in key.split("."):
            if node is None or not isinstance(node.value, dict):
                return None
            node = node.value.get(part)
        return node

    def get(self, key: str, default: Any = None) -> Any:
        node = self.node(key)
        return default if node is None else node.plain()

    def place(self, key: str) -> Place:
        """Return the place of a key, or of the nearest section above it that was written."""
        parts = key.split(".")
        for count in range(len(parts), 0, -1):
            node = self.node(".".join(parts[:count]))
            if node is not None:
                return node.place
        return Place(file=self.root.place.file, key=key)


def check_values(root: Node) -> list[Problem]:
    """Return what contradicts itself in a config whose shape is right."""
    values = _Values(root)
    checks: Sequence[Callable[[_Values], Iterator[Problem]]] = (
        *(_ranges, _choices, _name, _axes, _split, _sizes, _sources, _classes),
        *(_roles, _schedulers, _losses, _monitors, _trainer, _fractions),
    )
    return [problem for check in checks for problem in check(values)]


def _ranges(values: _Values) -> Iterator[Problem]:
    for key, (low, high) in RANGES.items():
        value = values.get(key)
        if value is None or isinstance(value, bool):
            continue
        if (low is not None and value < low) or (high is not None and value > high):
            limits = f"at least {low}" if high is None else f"between {low} and {high}"
            yield values.place(key).problem(f"must be {limits}, got {value}")


def _choices(values: _Values) -> Iterator[Problem]:
    for key, allowed in CHOICES.items():
        node = values.node(key)
        for item in node.value if node is not None and isinstance(node.value, list) else [node]:
            if item is None or item.value is None or item.value in allowed:
                continue
            words = [str(word) for word in dict.fromkeys(map(str, allowed))]
            hint = did_you_mean(str(item.value), words)
            yield item.place.problem(
                f"'{item.value}' is not known.{hint} Known: {listed(words, 20)}"
            )


def _name(values: _Values) -> Iterator[Problem]:
    name = values.get("name", "run")
    if not re.fullmatch(r"\w[\w.+-]*", name):
        message = (
            f"'{name}' becomes a folder name: begin with a letter or digit, and use letters, "
            "digits, '.', '_', '+' and '-'"
        )
        yield values.place("name").problem(message)


def _axes(values: _Values) -> Iterator[Problem]:
    for key in ("data.axes", "data.target_axes"):
        axes = values.get(key)
        if axes is None:
            continue
        unknown = sorted(set(axes) - set(AXES))
        if unknown:
            message = (
                f"unknown axis {listed(unknown)} in '{axes}'; the letters are {', '.join(AXES)}"
            )
            yield values.place(key).problem(message)
        elif len(set(axes)) != len(axes):
            yield values.place(key).problem(f"an axis stands twice in '{axes}'")
        elif not {"Y", "X"} <= set(axes):
            yield values.place(key).problem(f"'{axes}' lacks Y or X: an image has both")
    z_range = values.get("data.z_range")
    if z_range is not None and (len(z_range) != 2 or not 0 <= z_range[0] < z_range[1]):
        message = f"expects [first, past the last] such as [10, 20], got {z_range}"
        yield values.place("data.z_range").problem(message)


def _split(values: _Values) -> Iterator[Problem]:
    parts = {name: values.get(f"data.split.{name}") for name in ("val", "test", "naive")}
    fractions = {name: value for name, value in parts.items() if isinstance(value, float)}
    for name, value in fractions.items():
        if value > 1 or (value == 1 and name != "test"):
            place = values.place(f"data.split.{name}")
            message = f"{value} is neither a fraction below 1 nor a whole number of images"
            yield place.problem(message)
    total = sum(value for name, value in fractions.items() if name != "naive")
    if total >= 1 and all(value < 1 for value in fractions.values()):
        message = (
            f"validation and test take {total:g} of the images, which leaves none for training"
        )
        yield values.place("data.split").problem(message)
    if parts["naive"] and not values.get("data.split.group_by"):
        message = "unseen groups need 'group_by': the column that tells the groups"
        yield values.place("data.split.naive").problem(message)
    yield from _folds(values)


def _folds(values: _Values) -> Iterator[Problem]:
    folds, fold = values.get("data.split.folds"), values.get("data.split.fold")
    if folds is None:
        if fold:
            message = "needs 'folds', the number of folds"
            yield values.place("data.split.fold").problem(message)
        return
    if fold is not None and fold >= folds:
        message = f"counts from 0, so with {folds} folds it is at most {folds - 1}"
        yield values.place("data.split.fold").problem(message)
    if values.get("data.split.val") is not None:
        message = "with 'folds' validation is one fold, and 'val' is not used. Remove one of them"
        yield values.place("data.split.val").problem(message)


def _sizes(values: _Values) -> Iterator[Problem]:
    axes = values.get("data.axes")
    dims = None if axes is None else 3 if "Z" in axes else 2
    for key in ("data.patch.size", "inference.tile"):
        size = values.get(key)
        if size is None:
            continue
        if len(size) not in (2, 3) or any(side < 1 for side in size):
            message = f"expects [Y, X] or [Z, Y, X] in pixels, got {size}"
            yield values.place(key).problem(message)
        elif dims is not None and len(size) != dims:
            message = (
                f"{size} has {len(size)} sides, and images with the axes {axes} have {dims}. Give "
                f"{'[Z, Y, X]' if dims == 3 else '[Y, X]'}, or mend data.axes"
            )
            yield values.place(key).problem(message)
    size, per_image = values.get("data.patch.size"), values.get("data.patch.per_image")
    if size is None and (per_image or PatchConfig.per_image) > 1:
        message = "several patches of an image need 'size'; without it the whole image is used"
        yield values.place("data.patch.per_image").problem(message)
    overlap = values.get("inference.overlap")
    if overlap is not None and not 0 <= overlap < 1:
        message = f"is a fraction of a tile, at least 0 and below 1, got {overlap}"
        yield values.place("inference.overlap").problem(message)


def _sources(values: _Values) -> Iterator[Problem]:
    sources = values.get("data.sources") or {}
    if not sources:
        message = "there is no source of images. Write data.source: {name: folder, params: {...}}"
        yield values.place("data.sources").problem(message)
        return
    roles = {name: source.get("role", "all") for name, source in sources.items()}
    if not {"all", "train"} & set(roles.values()):
        message = "no source is for training: give one the role 'all' or 'train'"
        yield values.place("data.sources").problem(message)
    for name, source in sources.items():
        if source.get("weight", 1.0) < 0:
            place = values.place(f"data.sources.{name}.weight")
            yield place.problem("must be at least 0")
        if not re.fullmatch(r"\w[\w.-]*", str(name)):
            message = (
                f"'{name}' names a data set in tables and files: begin with a letter or digit, and "
                "use letters, digits, '.', '_' and '-'"
            )
            yield values.place(f"data.sources.{name}").problem(message)


def _classes(values: _Values) -> Iterator[Problem]:
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


def _roles(values: _Values) -> Iterator[Problem]:
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


def _schedulers(values: _Values) -> Iterator[Problem]:
    for role, scheduler in (values.get("task.schedulers") or {}).items():
        key = f"task.schedulers.{role}"
        interval = scheduler.get("interval")
        if interval not in (None, "step", "epoch"):
            place = values.place(f"{key}.interval")
            yield place.problem(f"expects 'step' or 'epoch', got '{interval}'")
        plateau = str(scheduler.get("name")).rpartition(".")[2] == "ReduceLROnPlateau"
        if scheduler.get("monitor") and not plateau:
            message = "only ReduceLROnPlateau watches a metric"
            yield values.place(f"{key}.monitor").problem(message)
        if plateau and interval == "step":
            message = "ReduceLROnPlateau steps after a validation: 'interval' is 'epoch'"
            yield values.place(f"{key}.interval").problem(message)


def _losses(values: _Values) -> Iterator[Problem]:
    losses = values.get("task.losses") or {}
    for name, term in losses.items():
        if term.get("warmup_steps", 0) < 0:
            yield values.place(f"task.losses.{name}.warmup_steps").problem("must be at least 0")
        if "/" in str(name):
            message = f"the name '{name}' becomes part of metric names and cannot hold '/'"
            yield values.place(f"task.losses.{name}").problem(message)
    if losses and all(term.get("weight", 1.0) == 0 for term in losses.values()):
        yield values.place("task.losses").problem("every term has the weight 0: nothing is learnt")


def _monitors(values: _Values) -> Iterator[Problem]:
    known = _metric_names(values)
    keys = ["trainer.early_stopping.monitor"]
    keys += [f"task.schedulers.{role}.monitor" for role in values.get("task.schedulers") or {}]
    places = [(values.get(key), values.place(key)) for key in keys]
    listed_node = values.node("trainer.checkpoint.monitor")
    if listed_node is not None and isinstance(listed_node.value, list):
        places += [(item.value, item.place) for item in listed_node.value]
    for name, place in places:
        if name is None:
            continue
        if not re.match(r"^(val|train)/.", name):
            hint = f" Did you mean 'val/{name}'?" if f"val/{name}" in known else ""
            message = f"metrics are named like 'val/dice' or 'train/loss', got '{name}'.{hint}"
            yield place.problem(message)
        elif known and name not in known:
            message = f"there is no metric '{name}'.{did_you_mean(name, known)}"
            yield place.problem(f"{message} Known: {listed(sorted(known), 30)}")
    yield from _states(values, known)


def _states(values: _Values, known: set[str]) -> Iterator[Problem]:
    """Check the names of kept states: ``best``, ``last``, ``best-val-dice``."""
    monitored = values.get("trainer.checkpoint.monitor")
    state = values.get("inference.checkpoint")
    if state is None or state in ("best", "last"):
        return
    names = monitored if monitored is not None else sorted(known)
    states = ["best", "last", *(f"best-{name.replace('/', '-')}" for name in names)]
    if state not in states:
        hint = did_you_mean(state, states)
        message = f"there is no state '{state}'.{hint} Known: {listed(states, 12)}"
        yield values.place("inference.checkpoint").problem(message)


def _metric_names(values: _Values) -> set[str]:
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


def _trainer(values: _Values) -> Iterator[Problem]:
    max_time = values.get("trainer.max_time")
    if max_time is not None and not re.fullmatch(r"\d+:\d{1,2}:\d{1,2}:\d{1,2}", max_time):
        message = f"expects DD:HH:MM:SS such as 00:02:30:00, got '{max_time}'"
        yield values.place("trainer.max_time").problem(message)
    strategy = values.get("trainer.strategy", "auto")
    if strategy not in STRATEGIES and not strategy.startswith(("ddp_", "fsdp_", "deepspeed_")):
        hint = did_you_mean(strategy, STRATEGIES)
        message = f"'{strategy}' is not known.{hint} Known: {listed(STRATEGIES, 20)}"
        yield values.place("trainer.strategy").problem(message)
    devices = values.get("trainer.devices")
    wrong = (
        (isinstance(devices, str) and not re.fullmatch(r"auto|-1|\d+(,\d+)*,?", devices))
        or (isinstance(devices, int) and (devices < -1 or devices == 0))
        or devices == []
    )
    if wrong:
        message = f"expects a number of devices, a list of their numbers, or auto; got {devices!r}"
        yield values.place("trainer.devices").problem(message)
    if values.get("trainer.max_epochs") == 0:
        yield values.place("trainer.max_epochs").problem("0 epochs train nothing")
    yield from _ends(values)


def _ends(values: _Values) -> Iterator[Problem]:
    """Check that what begins also ends, and that lower limits lie below upper ones."""
    endless = values.get("trainer.max_epochs") == -1 and values.get("trainer.max_steps", -1) == -1
    stops = values.get("trainer.early_stopping") is not None or values.get("trainer.max_time")
    if endless and not stops:
        message = "training would never end: give max_steps, max_time or early_stopping"
        yield values.place("trainer.max_epochs").problem(message)
    for unit in ("epochs", "steps"):
        low, high = values.get(f"trainer.min_{unit}"), values.get(f"trainer.max_{unit}")
        if low is not None and high is not None and 0 <= high < low:
            message = f"is larger than max_{unit}, which is {high}"
            yield values.place(f"trainer.min_{unit}").problem(message)


def _fractions(values: _Values) -> Iterator[Problem]:
    confidence = values.get("evaluation.confidence")
    if confidence is not None and not 0 < confidence < 1:
        message = f"is a level between 0 and 1 such as 0.95, got {confidence}"
        yield values.place("evaluation.confidence").problem(message)
    for name in ("train", "val", "test", "predict"):
        key = f"trainer.limit_{name}_batches"
        value = values.get(key)
        if value is not None and (value < 0 or (isinstance(value, float) and value > 1)):
            message = f"expects a fraction up to 1.0 or a whole number of batches, got {value}"
            yield values.place(key).problem(message)
