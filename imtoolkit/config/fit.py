"""Whether a plain value fits the annotation of a config field, without any coercion."""

from __future__ import annotations

from dataclasses import is_dataclass
from enum import EnumMeta
from typing import Any, Union, get_args, get_origin

WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def fits(annotation: Any, value: Any) -> bool:
    """Tell whether ``value`` is what ``annotation`` says; ``True`` is no number and 1.7 no integer.

    Example:
        >>> fits(Union[int, str], 4), fits(int, True), fits(float, 1), fits(list[int], [1, 2.5])
        (True, False, True, False)
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return True
    if origin is Union:
        return any(fits(arg, value) for arg in args)
    if annotation is type(None):
        return value is None
    if origin is list:
        return isinstance(value, list) and all(fits(args[0], item) for item in value)
    if origin is dict or is_dataclass(annotation):
        return isinstance(value, dict)
    if isinstance(annotation, EnumMeta):
        return isinstance(value, str) and value in annotation.__members__
    if annotation is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, annotation)


def pick(annotation: Any, value: Any) -> Any:
    """Return the member of a union that decodes ``value`` without changing its type."""
    if get_origin(annotation) is not Union:
        return annotation
    args = get_args(annotation)
    exact = [arg for arg in args if type(value) is arg]
    return next(iter(exact), None) or next((arg for arg in args if fits(arg, value)), args[0])


def in_words(annotation: Any) -> str:
    """Say in words what a field takes.

    Example:
        >>> in_words(Union[int, str, None])
        'a whole number or a text'
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Union:
        return " or ".join(in_words(arg) for arg in args if arg is not type(None))
    if origin is list:
        return f"a list, each entry {in_words(args[0])}"
    if isinstance(annotation, EnumMeta):
        return "one of " + ", ".join(f"'{name}'" for name in annotation.__members__)
    if is_dataclass(annotation) and getattr(annotation, "__name__", "") == "Component":
        return "a component: a name, or {name: ..., params: ...}"
    if origin is dict or is_dataclass(annotation):
        return "a mapping"
    return WORDS.get(annotation, "anything")


def got(value: Any) -> str:
    """Say in words what a value is.

    Example:
        >>> got(1.7), got("nope"), got(None), got([1])
        ('the number 1.7', "the text 'nope'", 'nothing', 'a list')
    """
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text '{value}'"
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else f"a {type(value).__name__}"
