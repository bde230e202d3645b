"""From the name of a component to the class or function behind it, and nothing else.

A *kind* says where names of that kind are looked up and what they must turn out to be. Built-ins
are tables of strings in the ``__init__`` of their rooms, so nothing is imported before it is used:

    BUILTINS = {"loss": {"dice_ce": "imtoolkit.losses.dice:DiceCELoss"}}

A name is looked up as a built-in, as a public name of a trusted plugin, as a public name of the
namespaces of its kind, and as a dotted path below the allowed packages. What comes out is compared
with what the kind expects *before* it is called, and parameters that would run code or download are
refused (`imtoolkit.core.refused`): a config cannot run arbitrary code.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from imtoolkit.core.errors import ComponentError, ImtoolkitError, did_you_mean
from imtoolkit.core.refused import refused_component, refused_parameter

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
        functions: Whether plain functions among the built-ins and in plugins count as well.
        factories: Whether functions of the namespaces count whose return annotation is of this
            kind, such as ``resnet50(...) -> ResNet``.
    """

    name: str
    rooms: tuple[str, ...]
    namespaces: tuple[str, ...]
    expects: tuple[str, ...]
    functions: bool = False
    factories: bool = False


KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(
            "net",
            ("imtoolkit.nets",),
            ("monai.networks.nets", "torch.nn"),
            ("torch.nn.Module",),
            factories=True,
        ),
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
            (
                "monai.metrics",
                "torchmetrics",
                "torchmetrics.classification",
                "torchmetrics.segmentation",
            ),
            (
                *("torchmetrics.Metric", "monai.metrics.Metric"),
                *("imtoolkit.metrics.base.ImageMetric", "imtoolkit.metrics.base.SetMetric"),
                "imtoolkit.metrics.base.SamplesMetric",
            ),
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
        Kind(
            "postprocess",
            ("imtoolkit.inference",),
            (),
            ("imtoolkit.inference.postprocess.base.PostprocessStep",),
        ),
        Kind("schedule", ("imtoolkit.core",), (), ("imtoolkit.core.schedules.NumberSchedule",)),
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
        ComponentError: If the name is unknown, lies outside the allowed packages, or is not of this
            kind.
    """
    found: Callable[..., Any] = _lookup(KINDS[kind], name)
    _check_kind(KINDS[kind], name, found)
    reason = refused_component(paths_of(found))
    if reason is not None:
        message = f"{kind} '{name}' is refused: it {reason}"
        raise ComponentError(message)
    return found


def build(kind: str, name: str, params: Mapping[str, Any] | None = None, **filled: Any) -> Any:
    """Build a component from its name and parameters; nested components are built first.

    Args:
        kind: A key of `KINDS`.
        name: See `resolve`.
        params: Parameters as the config gives them; a value that is a mapping with exactly ``name``
            and ``params`` is a component itself, of the kind that `nested_kind` tells.
        filled: Parameters that come from the data or the caller; they do not replace given ones.

    Raises:
        ComponentError: If it cannot be found or refuses its parameters.
    """
    factory = resolve(kind, name)
    _check_parameters(kind, name, factory, params or {})
    given = {key: _build_nested(kind, key, value) for key, value in (params or {}).items()}
    try:
        return factory(**{**_without_download(factory), **filled, **given})
    except ImtoolkitError:
        raise
    except (TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
        text = str(error).strip() or type(error).__name__
        message = f"{kind} '{name}' refused its parameters: {text}"
        raise ComponentError(message) from error


def is_component(value: Any) -> bool:
    """Tell whether a value is a nested component: a mapping of exactly ``name`` and ``params``."""
    return isinstance(value, Mapping) and set(value) == {"name", "params"}


def nested_kind(outer: str, parameter: str) -> str:
    """Return the kind of a component that stands in a parameter of one of kind ``outer``.

    Example:
        >>> nested_kind("optimizer", "base_optimizer"), nested_kind("loss", "losses")
        ('optimizer', 'loss')
        >>> nested_kind("net", "backbone"), nested_kind("transform", "num_samples")
        ('net', 'transform')
    """
    for word in reversed(parameter.lower().split("_")):
        for name, kind in KINDS.items():
            # a kind without a class is no part of another, such as the drawings of `samples`
            if kind.expects and word in (name, f"{name}s", f"{name}es"):
                return name
    return outer


def paths_of(found: Callable[..., Any]) -> list[str]:
    """Return the dotted paths of a class and its bases, or of a function."""
    items = inspect.getmro(found) if inspect.isclass(found) else (found,)
    return [f"{item.__module__}.{item.__qualname__}" for item in items]


def _check_parameters(
    kind: str, name: str, factory: Callable[..., Any], params: Mapping[str, Any]
) -> None:
    paths = paths_of(factory)
    for key, value in params.items():
        reason = refused_parameter(paths, key, value)
        if reason is not None:
            message = f"{kind} '{name}': the parameter '{key}' is refused: it {reason}"
            raise ComponentError(message)


def _without_download(factory: Callable[..., Any]) -> dict[str, Any]:
    """Return the parameters that keep a component from downloading by default."""
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return {}
    downloads = [
        name
        for name, parameter in parameters.items()
        if parameter.default is True and refused_parameter(paths_of(factory), name, True)
    ]
    return dict.fromkeys(downloads, False)


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
        path, _, attribute = table[name].partition(":")
        return getattr(importlib.import_module(path), attribute)
    if "." in name:
        return _from_path(kind, name)
    for module in (*plugins(), *map(importlib.import_module, kind.namespaces)):
        found = getattr(module, name, None)
        if found is not None and not name.startswith("_"):
            return found
    spaces = map(importlib.import_module, kind.namespaces)
    known = [
        *table,
        *(key for space in spaces for key, item in vars(space).items() if callable(item)),
    ]
    message = (
        f"unknown {kind.name} '{name}'.{did_you_mean(name, known)} "
        f"List them with: imtoolkit components {kind.name}"
    )
    raise ComponentError(message)


def outside(kind: str, path: str) -> str:
    """Return the message for a dotted path below a package that a config may not use."""
    return (
        f"{kind} '{path}' lies outside the packages that a config may use "
        f"({', '.join(ALLOWED_PACKAGES)}). If it is your own code, list its module under "
        "'plugins:' and trust the file with --trust"
    )


def _from_path(kind: Kind, path: str) -> Any:
    parts = path.split(".")
    if any(part.startswith("_") or not part.isidentifier() for part in parts):
        message = f"{kind.name} '{path}' is not a path of public names"
        raise ComponentError(message)
    for name, module in _plugins.items():
        if path.startswith(f"{name}."):
            found = _descend(module, path.removeprefix(f"{name}.").split("."))
            if found is not None:
                return found
    if parts[0] not in ALLOWED_PACKAGES:
        raise ComponentError(outside(kind.name, path))
    found = _import_path(parts)
    if found is None:
        message = f"{kind.name} '{path}' does not exist: no such module or name"
        raise ComponentError(message)
    return found


def _import_path(parts: list[str]) -> Any:
    for cut in range(len(parts) - 1, 0, -1):
        path = ".".join(parts[:cut])
        try:
            module = importlib.import_module(path)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{path}.".startswith(f"{error.name}."):
                continue  # no such module: what comes after its parent is a name in it
            raise ComponentError(_unimportable(path, error)) from error
        except ImportError as error:
            raise ComponentError(_unimportable(path, error)) from error
        return _descend(module, parts[cut:])
    return None


def _unimportable(path: str, error: ImportError) -> str:
    return f"the module '{path}' is there, but cannot be imported: {error}"


def _descend(target: Any, names: Sequence[str]) -> Any:
    for name in names:
        target = getattr(target, name, None)
        if isinstance(target, ModuleType) and not _is_allowed(target):
            return None  # `monai.some.module.os.system` leads out of the allowed packages
    return target


def _is_allowed(module: ModuleType) -> bool:
    name = module.__name__
    own = name in (item.__name__ for item in plugins())
    return own or name.partition(".")[0] in ALLOWED_PACKAGES


def _check_kind(kind: Kind, name: str, found: Any) -> None:
    if inspect.isclass(found):
        if issubclass(found, _bases(kind)):
            return
        message = (
            f"'{name}' is not a {kind.name}: {found.__module__}.{found.__qualname__} is not "
            f"derived from {' or '.join(kind.expects)}"
        )
        raise ComponentError(message)
    if inspect.isfunction(found) and (
        (kind.functions and _is_ours(kind, found)) or (kind.factories and _is_factory(kind, found))
    ):
        return
    message = f"'{name}' is not a {kind.name}, but a {type(found).__name__}"
    raise ComponentError(message)


def _is_ours(kind: Kind, function: Callable[..., Any]) -> bool:
    # a plain function tells nothing about what it does: only built-ins and trusted ones are called,
    # and not whatever else a room holds (`imtoolkit.data.cache.manage.clear` deletes)
    if f"{function.__module__}:{function.__qualname__}" in builtins_of(kind.name).values():
        return True
    return any(_is_below(function.__module__, module.__name__) for module in plugins())


def _is_factory(kind: Kind, function: Callable[..., Any]) -> bool:
    """Tell whether a function of a namespace says that it returns a component of this kind."""
    if not any(_is_below(function.__module__, space) for space in kind.namespaces):
        return False
    returned = getattr(function, "__annotations__", {}).get("return")
    if isinstance(returned, str):
        returned = getattr(importlib.import_module(function.__module__), returned, None)
    return inspect.isclass(returned) and issubclass(returned, _bases(kind))


def _is_below(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _bases(kind: Kind) -> tuple[type, ...]:
    return tuple(base for base in map(_base_class, kind.expects) if base is not None)


def _base_class(path: str) -> type | None:
    module, _, attribute = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        return None
    return found if inspect.isclass(found) else None
