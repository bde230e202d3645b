"""Which dataclass decodes the section ``task``: that of a built-in category, or of a plugin's task.

A plugin that is trusted brings a category of its own with a class that says so::

    @dataclass(frozen=True)
    class MyConfig(TaskConfig):
        strength: float = 1.0

    class MyTask(SupervisedTask):
        category = "my_category"
        config_class = MyConfig
"""

from __future__ import annotations

import types
from dataclasses import fields
from typing import Any, Union, get_args, get_origin, get_type_hints

from imtoolkit.core import registry
from imtoolkit.core.errors import ConfigError, Problem

from .sections import CATEGORIES, TaskConfig


def config_class(category: object) -> type[TaskConfig] | None:
    """Return the dataclass of a category; ``None`` where no built-in and no loaded plugin has it.

    Raises:
        ConfigError: If the class of a plugin is not made as it must be.
    """
    if not isinstance(category, str):
        return None
    if category in CATEGORIES:
        return CATEGORIES[category]
    owner = _owners().get(category)
    return None if owner is None else _checked(owner)


def known_categories() -> list[str]:
    """Return the names of the built-in categories, and of those of plugins that are loaded."""
    return list(dict.fromkeys([*CATEGORIES, *_owners()]))


def field_types(cls: type[Any]) -> dict[str, Any]:
    """Return field name -> type of a dataclass, whichever way its annotations are written.

    Example:
        >>> from imtoolkit.config.sections import StartConfig
        >>> field_types(StartConfig)["checkpoint"]
        <class 'str'>
    """
    written = {item.name: item.type for item in fields(cls)}
    if any(isinstance(annotation, str) for annotation in written.values()):
        hints = get_type_hints(cls)  # `from __future__ import annotations` leaves texts
        written = {name: hints[name] for name in written}
    return {name: _as_unions(annotation) for name, annotation in written.items()}


def _owners() -> dict[str, type[Any]]:
    found = (item for module in registry.plugins() for item in vars(module).values())
    classes = [item for item in found if isinstance(item, type)]
    named = {vars(item).get("category"): item for item in classes}
    return {name: item for name, item in named.items() if isinstance(name, str)}


def _checked(owner: type[Any]) -> type[TaskConfig]:
    made = getattr(owner, "config_class", TaskConfig)
    derived = isinstance(made, type) and issubclass(made, TaskConfig)
    if derived and "__dataclass_fields__" in vars(made):  # made by the decorator, not inherited
        found: type[TaskConfig] = made
        return found
    message = (
        f"the task {owner.__name__} has the config_class {getattr(made, '__name__', made)}; "
        "expected a frozen dataclass derived from imtoolkit.config.sections.TaskConfig: put "
        "@dataclass(frozen=True) above it"
    )
    raise ConfigError(Problem(message, where="task.category"))


def _as_unions(annotation: Any) -> Any:
    """Write ``int | None`` as ``Union[int, None]``, which pyrallis and the checks know."""
    arguments = tuple(_as_unions(item) for item in get_args(annotation))
    if isinstance(annotation, types.UnionType):
        return Union[arguments]
    origin = get_origin(annotation)
    if origin in (list, dict, tuple) and arguments:
        return origin[arguments]
    return annotation
