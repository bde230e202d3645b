"""Optimizers and schedules made from their names, with what the training fills in."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from imtoolkit.core import registry
from imtoolkit.core.errors import ComponentError, ConfigError, Problem

from .schedules import ProgressSchedule

_BY_STEPS: Final = ("OneCycleLR", "CyclicLR", "WarmupCosineSchedule")
_NEVER: Final = sys.maxsize


@dataclass(frozen=True)
class Horizon:
    """When training ends.

    Attributes:
        steps: Optimizer steps; infinity where time ends it.
        epochs: Epochs; infinity where time ends it.
        seconds: Time limit; ``None`` where there is none.
        elapsed: Seconds of training so far.
    """

    steps: float = math.inf
    epochs: float = math.inf
    seconds: float | None = None
    elapsed: Callable[[], float] | None = None


def build_optimizer(name: str, params: Mapping[str, Any], parameters: Iterable[Any]) -> Optimizer:
    """Build an optimizer over parameters or groups of them.

    An optimizer inside its parameters, as the base of SAM, is built over the same ones.

    Args:
        name: A built-in, a class of ``torch.optim``, or a dotted path.
        params: What the user wrote.
        parameters: Tensors, or groups ``{"params": [...], "lr": ...}``.

    Raises:
        ComponentError: If it cannot be found or refuses its parameters.
        ConfigError: If there is nothing to train.
    """
    held = list(parameters)
    if not held:
        message = "every weight is frozen: there is nothing to train"
        raise ConfigError(Problem(message, where="task.freeze"))
    given = {
        key: build_optimizer(value["name"], value["params"], held)
        if registry.is_component(value) and registry.nested_kind("optimizer", key) == "optimizer"
        else value
        for key, value in with_base(name, params).items()
    }
    # each optimizer writes its options into groups of its own
    own = [dict(item) if isinstance(item, dict) else item for item in held]
    optimizer: Optimizer = registry.build("optimizer", name, {**given, "params": own})
    return optimizer


def with_base(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with the optimizer that works inside, where the class needs one."""
    base = getattr(registry.resolve("optimizer", name), "default_base", None)
    return {**({} if base is None else {"base": {"name": base, "params": {}}}), **params}


def option_of(name: str, params: Mapping[str, Any], option: str) -> float | None:
    """Return an option such as ``lr`` as given or by default; ``None`` where there is none.

    It is that of the optimizer inside where the outer one does not know it.

    Example:
        >>> option_of("sam", {"base": {"name": "adamw", "params": {"lr": 0.5}}}, "lr")
        0.5
        >>> option_of("adam", {}, "weight_decay"), option_of("lbfgs", {}, "weight_decay")
        (0, None)
    """
    found = inspect.signature(registry.resolve("optimizer", name)).parameters.get(option)
    if option in params or found is not None:
        value = params.get(option, found.default if found is not None else None)
        return value if isinstance(value, (int, float)) else None
    inner = [value for value in with_base(name, params).values() if registry.is_component(value)]
    values = (option_of(value["name"], value["params"], option) for value in inner)
    return next((value for value in values if value is not None), None)


def build_scheduler(
    name: str,
    params: Mapping[str, Any],
    optimizer: Optimizer,
    horizon: Horizon,
    *,
    interval: str | None = None,
    where: str = "task.scheduler",
) -> tuple[LRScheduler, str]:
    """Build a schedule.

    Args:
        name: A built-in, a class of ``torch.optim.lr_scheduler``, or a dotted path.
        params: What the user wrote; parameters that say how long training is are filled in.
        optimizer: What it steers.
        horizon: When training ends.
        interval: ``"step"`` or ``"epoch"``; ``None`` takes what the schedule is made for.
        where: Key of the config, for messages.

    Returns:
        The schedule and its interval.

    Raises:
        ConfigError: If the interval is neither, or the schedule needs an end and there is none.
        ComponentError: If it cannot be found or refuses its parameters.
    """
    if interval not in (None, "step", "epoch"):
        message = f"got '{interval}'; expected 'step' or 'epoch'"
        raise ConfigError(Problem(message, where=f"{where}.interval"))
    factory = registry.resolve("scheduler", name)
    chosen = interval or _natural_interval(factory, params)
    given = {
        key: _nested(value, optimizer, horizon, chosen, where) for key, value in params.items()
    }
    filled = _filled(factory, given, optimizer, horizon, chosen, where)
    try:
        scheduler: LRScheduler = registry.build("scheduler", name, given, **filled)
    except ComponentError as error:
        raise ComponentError(Problem(str(error), where=where)) from error
    return scheduler, chosen


def lightning_config(
    scheduler: LRScheduler, interval: str, monitor: str | None, name: str
) -> dict[str, Any]:
    """Return the dict that Lightning wants.

    Lightning steps ``ReduceLROnPlateau`` after the checkpoint of the epoch is saved, so a resumed
    run would lag behind; here it is given a frequency that never comes, and the task steps it.
    """
    entry = {"scheduler": scheduler, "interval": interval, "frequency": 1, "name": f"lr/{name}"}
    if isinstance(scheduler, ReduceLROnPlateau):
        entry |= {"monitor": monitor, "interval": "epoch", "frequency": _NEVER, "strict": False}
    return entry


def _natural_interval(factory: Callable[..., Any], params: Mapping[str, Any]) -> str:
    if inspect.isclass(factory) and issubclass(factory, ProgressSchedule):
        return "step"
    name = getattr(factory, "__name__", "")
    known = inspect.signature(factory).parameters
    # a length that is filled in counts steps; one that the user wrote counts epochs, as torch's do
    counts = "T_max" in known and "T_max" not in params
    unset = name == "PolynomialLR" and "total_iters" not in params
    return "step" if name in _BY_STEPS or counts or unset else "epoch"


def _filled(
    factory: Callable[..., Any],
    given: Mapping[str, Any],
    optimizer: Optimizer,
    horizon: Horizon,
    interval: str,
    where: str,
) -> dict[str, Any]:
    known = inspect.signature(factory).parameters
    length = horizon.steps if interval == "step" else horizon.epochs
    filled: dict[str, Any] = {"optimizer": optimizer}
    if inspect.isclass(factory) and issubclass(factory, ProgressSchedule):
        filled |= {"total_steps": length}
        filled |= {"max_seconds": horizon.seconds, "elapsed": horizon.elapsed}
    else:
        lengths = [key for key in ("total_steps", "t_total", "T_max") if key in known]
        lengths += ["total_iters"] * (factory.__name__ == "PolynomialLR")
        missing = [key for key in lengths if key not in given and "epochs" not in given]
        if missing and math.isinf(length):
            message = _endless(factory.__name__, horizon, interval)
            raise ConfigError(Problem(message, where=where))
        filled |= {key: max(1, int(length)) for key in missing}
        filled |= {"max_lr": [group["lr"] for group in optimizer.param_groups]}
    return {key: value for key, value in filled.items() if key in known and key not in given}


def _endless(name: str, horizon: Horizon, interval: str) -> str:
    if interval == "epoch" and math.isfinite(horizon.steps):
        return (
            f"{name} needs the number of epochs, but max_steps ends the training. Set its interval "
            "to step, or set trainer.max_epochs"
        )
    return (
        f"{name} needs the number of {interval}s, but only max_time ends the training. Take "
        "one_cycle, cosine, warmup_cosine or poly, which go by the clock, or set "
        "trainer.max_epochs"
    )


def _nested(value: Any, optimizer: Optimizer, horizon: Horizon, interval: str, where: str) -> Any:
    """Build schedules within a schedule (a chain), which need the same optimizer."""
    if registry.is_component(value):
        inner, _ = build_scheduler(
            value["name"], value["params"], optimizer, horizon, interval=interval, where=where
        )
        return inner
    if isinstance(value, (list, tuple)):
        return [_nested(item, optimizer, horizon, interval, where) for item in value]
    return value
