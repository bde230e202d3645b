"""From the name of a component to the class or function behind it, and nothing else.

A *kind* says where names of that kind are looked up and what they must turn out to be. Built-ins are
tables of strings in the ``__init__`` of their rooms, so nothing is imported before it is used:

    BUILTINS = {"loss": {"dice_ce": "imtoolkit.losses.dice:DiceCELoss"}}

A name is looked up as a built-in, as a public name of a trusted plugin, as a public name of the
namespaces of its kind, and as a dotted path below the allowed packages. What comes out is compared with
what the kind expects *before* it is called: a config cannot run arbitrary code.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from imtoolkit.core.errors import ComponentError, did_you_mean

ALLOWED_PACKAGES: Final = ("torch", "monai", "torchmetrics", "pytorch_lightning", "imtoolkit")
"""Dotted paths resolve below these packages only; others are plugins, which the user must trust."""


@dataclass(frozen=True)
class Kind:
    """What a kind of component is.

    Attributes:
        name: Word used in configs and messages, such as ``"loss"``.
        rooms: Packages whose ``BUILTINS`` may list components of this kind.
        namespaces: Modules whose public names may be used by their bare name.
        expects: Dotted paths of base classes, one of which a class must have.
        functions: Whether plain functions of the namespaces, built-ins and plugins count as well.
    """

    name: str
    rooms: tuple[str, ...]
    namespaces: tuple[str, ...]
    expects: tuple[str, ...]
    functions: bool = False


KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("net", ("imtoolkit.nets",), ("monai.networks.nets", "torch.nn"), ("torch.nn.Module",)),
        Kind("loss", ("imtoolkit.losses",), ("monai.losses", "torch.nn"), ("torch.nn.Module",)),
        Kind(
            "optimizer",
            ("imtoolkit.optim",),
            ("torch.optim", "monai.optimizers"),
            ("torch.optim.Optimizer",),
        ),
        Kind(
            "scheduler",
            ("imtoolkit.optim",),
            ("torch.optim.lr_scheduler", "monai.optimizers"),
            ("torch.optim.lr_scheduler.LRScheduler",),
        ),
        Kind(
            "transform",
            ("imtoolkit.data",),
            ("monai.transforms",),
            ("monai.transforms.Transform",),
            functions=True,
        ),
        Kind(
            "metric",
            ("imtoolkit.metrics",),
            ("monai.metrics", "torchmetrics"),
            ("torchmetrics.Metric", "monai.metrics.Metric", "imtoolkit.metrics.base.ImageMetric"),
        ),
        Kind(
            "callback",
            ("imtoolkit.callbacks",),
            ("pytorch_lightning.callbacks",),
            ("pytorch_lightning.Callback",),
        ),
        Kind(
            "logger",
            ("imtoolkit.callbacks",),
            ("pytorch_lightning.loggers",),
            ("pytorch_lightning.loggers.Logger",),
        ),
        Kind("reader", ("imtoolkit.io",), ("monai.data",), ("monai.data.ImageReader",)),
        Kind("source", ("imtoolkit.data",), (), ("imtoolkit.data.sources.base.Source",)),
        Kind("sample", ("imtoolkit.samples",), (), (), functions=True),
    )
}

_plugins: dict[str, ModuleType] = {}


def add_plugin(module: ModuleType, name: str | None = None) -> None:
    """Make the public names of an imported, trusted module known to every kind.

    Args:
        module: The module.
        name: First part of dotted paths into it, where that is not the module's own name.
    """
    _plugins[name or module.__name__] = module


def plugins() -> tuple[ModuleType, ...]:
    """Return the trusted modules that were added, in order."""
    return tuple(_plugins.values())


def builtins_of(kind: str) -> dict[str, str]:
    """Return the table ``name -> "module:attribute"`` of a kind, from its rooms."""
    table: dict[str, str] = {}
    for room in KINDS[kind].rooms:
        table.update(getattr(importlib.import_module(room), "BUILTINS", {}).get(kind, {}))
    return table


def resolve(kind: str, name: str) -> Callable[..., Any]:
    """Find the class or function that ``name`` stands for.

    Raises:
        ComponentError: If the name is unknown, lies outside the allowed packages, or is not of this kind.
    """
    found = _lookup(KINDS[kind], name)
    _check_kind(KINDS[kind], name, found)
    return found


def build(kind: str, name: str, params: Mapping[str, Any] | None = None, **filled: Any) -> Any:
    """Build a component from its name and parameters; nested components are built first.

    Args:
        kind: A key of `KINDS`.
        name: See `resolve`.
        params: Parameters as the config gives them; a value that is a mapping with exactly ``name`` and
            ``params`` is a component itself, of the kind that `nested_kind` tells.
        filled: Parameters that come from the data or from the caller; they do not replace given ones.

    Raises:
        ComponentError: If it cannot be found or refuses its parameters.
    """
    factory = resolve(kind, name)
    given = {key: _build_nested(kind, key, value) for key, value in (params or {}).items()}
    try:
        return factory(**{**filled, **given})
    except (TypeError, ValueError, AttributeError, RuntimeError, NotImplementedError) as error:
        text = str(error).strip() or type(error).__name__
        raise ComponentError(f"{kind} '{name}' refused its parameters: {text}") from error


def is_component(value: Any) -> bool:
    """Tell whether a value is a nested component: a mapping with exactly ``name`` and ``params``."""
    return isinstance(value, Mapping) and set(value) == {"name", "params"}


def nested_kind(outer: str, parameter: str) -> str:
    """Return the kind of a component that stands in parameter ``parameter`` of one of kind ``outer``."""
    words = parameter.lower()
    for kind in KINDS:
        if kind in words:
            return kind
    return outer


def _build_nested(outer: str, parameter: str, value: Any) -> Any:
    if is_component(value):
        return build(nested_kind(outer, parameter), value["name"], value["params"])
    if isinstance(value, Mapping):
        return {key: _build_nested(outer, parameter, item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_build_nested(outer, parameter, item) for item in value]
    return value


def _lookup(kind: Kind, name: str) -> Any:
    table = builtins_of(kind.name)
    if name in table:
        module, _, attribute = table[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    if "." in name:
        return _from_path(kind, name)
    for module in (*plugins(), *map(importlib.import_module, kind.namespaces)):
        found = getattr(module, name, None)
        if found is not None and not name.startswith("_"):
            return found
    known = [
        *table,
        *(key for space in kind.namespaces for key in dir(importlib.import_module(space))),
    ]
    raise ComponentError(
        f"unknown {kind.name} '{name}'.{did_you_mean(name, known)} "
        f"List them with: imtoolkit components {kind.name}"
    )


def _from_path(kind: Kind, path: str) -> Any:
    plugin_names = tuple(_plugins)
    root = path.partition(".")[0]
    if root not in ALLOWED_PACKAGES and root not in plugin_names:
        raise ComponentError(
            f"{kind.name} '{path}' lies outside the packages that a config may use "
            f"({', '.join(ALLOWED_PACKAGES)}). If it is your own code, list its module under 'plugins:' "
            "and trust the file with --trust"
        )
    module_name, _, attribute = path.rpartition(".")
    while module_name:
        try:
            target: Any = importlib.import_module(module_name)
        except ImportError:
            module_name, _, head = module_name.rpartition(".")
            attribute = f"{head}.{attribute}"
            continue
        for part in attribute.split("."):
            target = getattr(target, part, None)
        if target is not None:
            return target
        break
    raise ComponentError(f"{kind.name} '{path}' does not exist: no such module or name")


def _check_kind(kind: Kind, name: str, found: Any) -> None:
    if inspect.isclass(found):
        bases = tuple(base for base in map(_base_class, kind.expects) if base is not None)
        if issubclass(found, bases):
            return
        raise ComponentError(
            f"'{name}' is not a {kind.name}: {found.__module__}.{found.__qualname__} is not derived from "
            f"{' or '.join(kind.expects)}"
        )
    if kind.functions and inspect.isfunction(found) and _may_be_called(kind, found):
        return
    raise ComponentError(f"'{name}' is not a {kind.name}, but a {type(found).__name__}")


def _may_be_called(kind: Kind, function: Callable[..., Any]) -> bool:
    # a plain function tells nothing about what it does: only ours and trusted ones are called
    own = (*kind.rooms, *(module.__name__ for module in plugins()))
    return any(
        function.__module__ == name or function.__module__.startswith(f"{name}.") for name in own
    )


def _base_class(path: str) -> type | None:
    module, _, attribute = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        return None
    return found if inspect.isclass(found) else None
