"""The documentation of config fields, read from the source of the dataclasses.

Python keeps no docstring of a field; the text that stands below each one is read with `ast`.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path
from typing import Any

from . import sections


@lru_cache(maxsize=1)
def _docs() -> dict[str, dict[str, str]]:
    files = sorted(Path(sections.__file__).parent.glob("*.py"))
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in files]
    docs: dict[str, dict[str, str]] = {}
    for node in (node for tree in trees for node in tree.body):
        if not isinstance(node, ast.ClassDef):
            continue
        found = docs.setdefault(node.name, {"": ast.get_docstring(node) or ""})
        for item, below in zip(node.body, node.body[1:], strict=False):
            if (
                isinstance(item, ast.AnnAssign)
                and isinstance(item.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
            ):
                found[item.target.id] = " ".join(str(below.value.value).split())
    return docs


def class_doc(cls: type[Any]) -> str:
    """Return the documentation of a section."""
    return _docs().get(cls.__name__, {}).get("", "")


def field_doc(cls: type[Any], name: str) -> str:
    """Return the documentation of a field, its own or that of the class it is inherited from."""
    for owner in cls.__mro__:
        text = _docs().get(owner.__name__, {}).get(name)
        if text:
            return text
    return ""
