"""Whether a plain value fits an annotation that was read from a source, as far as one can tell.

Annotations are taken as text and never evaluated. What is not understood (``Tensor``, a type of the
component's own module) accepts everything: `imtoolkit check` builds the component and finds out.
"""

from __future__ import annotations

import ast
from typing import Any, Final

from .fit import WORDS, fits, got

_NUMBERS: Final = {"int": int, "float": float, "bool": bool, "str": str}
_LISTS: Final = frozenset(
    {"list", "List", "tuple", "Tuple", "Sequence", "Iterable", "Collection", "set", "Set"}
)
_MAPPINGS: Final = frozenset({"dict", "Dict", "Mapping", "MutableMapping"})
_TEXTS: Final = frozenset({"Path", "PathLike", "_PATH"})
_NEVER: Final = frozenset({"Callable", "type", "Type", "LambdaType", "FunctionType"})
"""What no config can hold: functions and classes."""
_ARRAYS: Final = frozenset({"Tensor", "ndarray", "NdarrayOrTensor", "NdarrayTensor", "ArrayLike"})
"""Never made from a text: ``lr: float | Tensor`` takes a number."""
_ALIASES: Final = {
    "KeysCollection": "str | Sequence[str]",
    "SequenceStr": "str | Sequence[str]",
    "_size_1_t": "int | Sequence[int]",
    "_size_2_t": "int | Sequence[int]",
    "_size_3_t": "int | Sequence[int]",
    "_size_any_t": "int | Sequence[int]",
    "_size_any_opt_t": "int | Sequence[int | None]",
    "_size_2_opt_t": "int | Sequence[int | None]",
    "_size_3_opt_t": "int | Sequence[int | None]",
    "_ratio_2_t": "float | Sequence[float]",
    "_ratio_3_t": "float | Sequence[float]",
    "_shape_t": "int | Sequence[int]",
}


def mismatch(annotation: str | None, default: str | None, value: Any) -> str | None:
    """Return what is wrong with a value, or None where it fits or nobody can tell.

    Example:
        >>> mismatch("int", None, 1.7)
        'expects a whole number, got the number 1.7'
        >>> mismatch("Sequence[int] | int", None, [1, 2]), mismatch(None, "False", True)
        (None, None)
        >>> mismatch("Callable | None", "None", "os.system")
        "expects a function, which a config cannot hold, got the text 'os.system'"
    """
    if value is None and default in (None, "None"):
        return None if default == "None" or annotation is None else _mismatch(annotation, value)
    if annotation is None:
        return _against_default(default, value)
    return _mismatch(annotation, value)


def _mismatch(annotation: str, value: Any) -> str | None:
    try:
        node = ast.parse(annotation.strip("'\""), mode="eval").body
    except SyntaxError:
        return None
    if _accepts(node, value):
        return None
    return f"expects {_in_words(node)}, got {got(value)}{_wrong_entry(node, value)}"


def _wrong_entry(node: ast.expr, value: Any) -> str:
    """Point to the entry of a list or a mapping that does not fit, where the rest would."""
    for member in _members(node):
        if not isinstance(member, ast.Subscript):
            continue
        inner = member.slice.elts if isinstance(member.slice, ast.Tuple) else [member.slice]
        name = _name(member.value)
        entries: tuple[tuple[Any, Any], ...] = ()
        if name in _MAPPINGS and isinstance(value, dict):
            entries = tuple(value.items())
        elif name in _LISTS and isinstance(value, list) and len(inner) == 1:
            entries = tuple(enumerate(value))
        for key, item in entries:
            if not _accepts(inner[-1], item):
                return f", whose entry '{key}' is {got(item)} and not {_in_words(inner[-1])}"
    return ""


def _against_default(default: str | None, value: Any) -> str | None:
    """Compare with the type of a default, where there is no annotation."""
    try:
        usual = ast.literal_eval(default) if default is not None else None
    except (ValueError, SyntaxError):
        return None
    if isinstance(usual, bool):
        wrong = not isinstance(value, bool)
    elif isinstance(usual, (int, float)):
        wrong = isinstance(value, (bool, str))
    elif isinstance(usual, str):
        wrong = isinstance(value, (bool, int, float))
    else:
        return None
    return f"expects {WORDS[type(usual)]}, got {got(value)}" if wrong else None


def _accepts(node: ast.expr, value: Any) -> bool:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _accepts(node.left, value) or _accepts(node.right, value)
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return _mismatch(node.value, value) is None
        return node.value is not None or value is None
    if isinstance(node, ast.Subscript):
        return _accepts_subscript(node, value)
    name = _name(node)
    if name in _ALIASES:
        return _mismatch(_ALIASES[name], value) is None
    if name in _NUMBERS:
        return fits(_NUMBERS[name], value)
    if name in _LISTS:
        return isinstance(value, (list, tuple))
    if name in _MAPPINGS:
        return isinstance(value, dict)
    if name in _TEXTS:
        return isinstance(value, str)
    if name in _ARRAYS:
        return not isinstance(value, str)
    return name not in _NEVER


def _accepts_subscript(node: ast.Subscript, value: Any) -> bool:
    name = _name(node.value)
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Optional":
        return value is None or _accepts(inner[0], value)
    if name == "Union":
        return any(_accepts(item, value) for item in inner)
    if name == "Literal":
        allowed = [item.value for item in inner if isinstance(item, ast.Constant)]
        return any(type(item) is type(value) and item == value for item in allowed)
    if name in ("tuple", "Tuple") and isinstance(value, (list, tuple)):
        return _accepts_tuple(inner, value)
    if name in _LISTS:
        return isinstance(value, (list, tuple)) and all(_accepts(inner[0], item) for item in value)
    if name in _MAPPINGS:
        return isinstance(value, dict) and all(_accepts(inner[-1], item) for item in value.values())
    if name in ("Annotated", "Final"):
        return _accepts(inner[0], value)
    return name not in _NEVER


def _accepts_tuple(inner: list[ast.expr], value: Any) -> bool:
    endless = isinstance(inner[-1], ast.Constant) and inner[-1].value is Ellipsis
    if endless or len(inner) == 1:  # `tuple[int]` is often written for any number of them
        return all(_accepts(inner[0], item) for item in value)
    if len(inner) != len(value):
        return False
    return all(_accepts(kind, item) for kind, item in zip(inner, value, strict=True))


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _in_words(node: ast.expr) -> str:
    parts = list(dict.fromkeys(_word(part) for part in _members(node)))
    words = [part for part in parts if part != "nothing"]
    if len(words) > 1:
        words = [part for part in words if part.rpartition(".")[2] not in _ARRAYS]
    return " or ".join(words) if words else "nothing"


def _members(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_members(node.left), *_members(node.right)]
    if isinstance(node, ast.Subscript) and _name(node.value) in ("Optional", "Union"):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return [member for item in inner for member in _members(item)]
    return [node]


def _word(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and node.value is None:
        return "nothing"
    if isinstance(node, ast.Subscript) and _name(node.value) == "Literal":
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return "one of " + ", ".join(ast.unparse(item) for item in inner)
    if isinstance(node, ast.Subscript) and _name(node.value) in _LISTS:
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        fixed = _name(node.value) in ("tuple", "Tuple") and len(inner) > 1
        fixed = fixed and not (isinstance(inner[-1], ast.Constant) and inner[-1].value is Ellipsis)
        return (
            f"a list of {len(inner)}: {', '.join(map(_in_words, inner))}"
            if fixed
            else (f"a list, each entry {_in_words(inner[0])}")
        )
    name = _name(node.value) if isinstance(node, ast.Subscript) else _name(node)
    if name in _ALIASES:
        return _in_words(ast.parse(_ALIASES[name], mode="eval").body)
    if name in _NEVER:
        kind = "class" if name in ("type", "Type") else "function"
        return f"a {kind}, which a config cannot hold"
    if name in _NUMBERS:
        return WORDS[_NUMBERS[name]]
    if name in _LISTS:
        return "a list"
    if name in _MAPPINGS:
        return "a mapping"
    return "a text" if name in _TEXTS else ast.unparse(node)
