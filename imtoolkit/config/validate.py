"""The shape of a config: its keys and the types of its values, against the dataclasses.

All problems are collected, each with the place where the value was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import EnumMeta
from typing import Any, Final, Union, get_args, get_origin

from imtoolkit.core.errors import Problem, did_you_mean, listed, nearest

from .categories import config_class, field_types, known_categories
from .fit import fits, got, in_words
from .nodes import Node
from .sections import CATEGORIES, Component, Config, TaskConfig
from .shorthand import SINGULAR

NOT_FOR_CONFIG: Final = {
    "use_distributed_sampler": "imtoolkit has its own sampler, exact for any number of ranks",
    "default_root_dir": "runs go to 'tracking.runs'",
    "enable_checkpointing": "checkpoints are described by 'trainer.checkpoint'",
    "logger": "write loggers under the top-level key 'loggers'",
    "callbacks": "write callbacks under the top-level key 'callbacks'",
    "plugins": "Lightning's plugins are objects; use 'strategy' and 'precision'",
    "enable_autolog_hparams": "the whole config is stored with the run",
    "model_registry": "runs are kept in 'tracking.runs'",
}
"""Arguments of `pytorch_lightning.Trainer` that a config cannot give, and what to do instead."""


def check_shape(root: Node, *, open_task: bool = False) -> list[Problem]:
    """Return what is wrong with the keys and types of a config in long form.

    Args:
        root: The config.
        open_task: Leave the section ``task`` alone: its category may be that of a plugin which is
            not trusted yet, and so not read.
    """
    problems: list[Problem] = []
    _check_section(root, Config, problems, skipped=("task",) if open_task else ())
    return problems


def fields_of(cls: type[Any]) -> dict[str, Any]:
    """Return field name -> annotation of a dataclass."""
    return field_types(cls)


def task_type(node: Node | None) -> type[TaskConfig] | None:
    """Return the dataclass that decodes a task section, or None where its category is unknown."""
    if node is None or not isinstance(node.value, dict):
        return None
    category = node.value.get("category")
    return config_class(category.value) if category is not None else None


def _check_section(
    node: Node, cls: type[Any], problems: list[Problem], skipped: Sequence[str] = ()
) -> None:
    if not isinstance(node.value, dict):
        _wrong_type(node, cls, problems)
        return
    if cls is TaskConfig:
        chosen = task_type(node)
        if chosen is None:
            problems.append(_unknown_category(node))
            return
        cls = chosen
    known = fields_of(cls)
    for key, item in node.value.items():
        if key in skipped:
            continue
        if key in known:
            _check_value(item, known[key], problems)
        else:
            problems.append(_unknown_key(item, str(key), cls))
    for item in fields(cls):
        required = item.default is MISSING and item.default_factory is MISSING
        if required and item.name not in node.value:
            problems.append(_missing_key(node, item.name, cls))


def _check_value(node: Node, annotation: Any, problems: list[Problem]) -> None:
    if get_origin(annotation) is Union:
        if any(fits(arg, node.plain()) and not _has_inside(arg) for arg in get_args(annotation)):
            return
        inside = [arg for arg in get_args(annotation) if _has_inside(arg)]
        matching = [arg for arg in inside if _container_fits(arg, node)]
        if len(matching) == 1:
            _check_value(node, matching[0], problems)
        else:
            _wrong_type(node, annotation, problems)
    elif is_dataclass(annotation):
        _check_section(node, annotation, problems)  # type: ignore[arg-type]
    elif get_origin(annotation) is dict and isinstance(node.value, dict):
        for item in node.value.values():
            _check_value(item, get_args(annotation)[1], problems)
    elif get_origin(annotation) is list and isinstance(node.value, list):
        for item in node.value:
            _check_value(item, get_args(annotation)[0], problems)
    elif not fits(annotation, node.plain()):
        _wrong_type(node, annotation, problems)


def _has_inside(annotation: Any) -> bool:
    return is_dataclass(annotation) or get_origin(annotation) in (list, dict)


def _container_fits(annotation: Any, node: Node) -> bool:
    return isinstance(node.value, list if get_origin(annotation) is list else dict)


def _wrong_type(node: Node, annotation: Any, problems: list[Problem]) -> None:
    value = node.plain()
    hint = ""
    arguments = get_args(annotation) or (annotation,)
    if value is True and any(is_dataclass(arg) for arg in arguments):
        hint = ". For the defaults write {}"
    elif (
        isinstance(value, str) and value.lower() in ("yes", "on", "no", "off") and bool in arguments
    ):
        hint = f". In YAML 1.2 '{value}' is a text: write true or false"
    elif isinstance(value, str) and isinstance(annotation, EnumMeta):
        hint = "." + did_you_mean(value, annotation.__members__)
    elif isinstance(value, str) and node.place.line and _is_number(value, annotation):
        hint = f". Write it without quotes: {value}"
    elif any(get_origin(arg) is list for arg in (annotation, *arguments)) and not isinstance(
        value, (list, dict)
    ):
        hint = f". For a single entry write [{value}]"
    message = f"expects {in_words(annotation)}, got {got(value)}{hint}"
    problems.append(node.place.problem(message))


def _is_number(text: str, annotation: Any) -> bool:
    try:
        number = float(text)
    except ValueError:
        return False
    return fits(annotation, number) or fits(
        annotation, int(number) if number == number // 1 else text
    )


def _unknown_category(node: Node) -> Problem:
    categories = known_categories()
    names = listed(categories)
    if "category" not in node.value:
        return node.place.problem(f"the key 'category' is missing; it says what is learnt: {names}")
    category: Node = node.value["category"]
    if not isinstance(category.value, str):
        return category.place.problem(f"expects a text, got {got(category.plain())}")
    hint = did_you_mean(category.value, categories)
    return category.place.problem(f"unknown category '{category.value}'.{hint} Known: {names}")


def _missing_key(node: Node, name: str, cls: type[Any]) -> Problem:
    if issubclass(cls, Component) and name == "name":
        return node.place.problem("a component needs a 'name': {name: ..., params: {...}}")
    short = {long: short for table in SINGULAR.values() for short, (long, _) in table.items()}
    shown = short.get(name, name)
    return node.place.problem(f"the key '{shown}' is missing. See: imtoolkit explain {shown}")


def _unknown_key(node: Node, key: str, cls: type[Any]) -> Problem:
    if cls.__name__ == "TrainerConfig" and key in NOT_FOR_CONFIG:
        return node.place.problem(f"cannot be set here: {NOT_FOR_CONFIG[key]}")
    known = [*fields_of(cls), *_short_keys(cls)]
    if issubclass(cls, Component) and not nearest(key, known):
        hint = " Parameters of a component stand under its 'params'"
        return node.place.problem(f"unknown key '{key}'.{hint}")
    others = [name for name, other in CATEGORIES.items() if key in fields_of(other)]
    if issubclass(cls, TaskConfig) and others:
        hint = f" It belongs to the category {' or '.join(others)}"
        return node.place.problem(f"unknown key '{key}' in this category.{hint}")
    hint = did_you_mean(key, known)
    if not hint:
        elsewhere = [path for path in all_keys() if path.rpartition(".")[2] == key]
        hint = (
            f" It exists as '{elsewhere[0]}'"
            if elsewhere
            else f" Known: {listed(sorted(known), 40)}"
        )
    return node.place.problem(f"unknown key '{key}'.{hint}")


def _short_keys(cls: type[Any]) -> Iterable[str]:
    if issubclass(cls, TaskConfig):
        return SINGULAR["task"]
    return SINGULAR["data"] if cls.__name__ == "DataConfig" else ()


def all_keys(cls: type[Any] = Config, prefix: str = "") -> list[str]:
    """Return the dotted keys of a config; the fields of a category stand below ``task``."""
    keys: list[str] = []
    for name, annotation in _fields_with_categories(cls).items():
        keys.append(prefix + name)
        for inner in (annotation, *get_args(annotation)):
            if is_dataclass(inner) and not (
                isinstance(inner, type) and issubclass(inner, Component)
            ):
                named = f"{name}.NAME" if get_origin(annotation) is dict else name
                keys += all_keys(inner, f"{prefix}{named}.")  # type: ignore[arg-type]
    return keys


def _fields_with_categories(cls: type[Any]) -> dict[str, Any]:
    if cls is not TaskConfig:
        return fields_of(cls)
    merged: dict[str, Any] = {}
    for category in CATEGORIES.values():
        merged.update(fields_of(category))
    return merged
