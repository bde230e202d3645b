"""What the index knows of a component, and a table of such entries as JSON."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imtoolkit.core.files import write_text
from imtoolkit.core.refused import refused_component, refused_parameter

from .signatures import Parameter, Signature

_KEPT = 3
"""Tables of other versions that stay on the disk: several environments may share a cache."""


@dataclass(frozen=True)
class Entry:
    """What is known of a component.

    Attributes:
        path: Dotted path of its definition.
        file: File of its source.
        line: Line of its definition.
        doc: First line of its documentation.
        signature: Its parameters.
        bases: Dotted paths of the class and its bases, as far as they matter for what is refused.
        random: Whether it is a random transform, whose result may not be cached.
    """

    path: str
    file: str
    line: int
    doc: str
    signature: Signature
    bases: tuple[str, ...] = ()
    random: bool = False

    @property
    def refused(self) -> str | None:
        """Why a config cannot use this component, or None."""
        return refused_component(self._paths)

    def refuses(self, parameter: str, value: Any) -> str | None:
        """Return why a parameter with this value is refused, or None."""
        return refused_parameter(self._paths, parameter, value)

    @property
    def paths(self) -> tuple[str, ...]:
        """Dotted paths of the class and of those of its bases that a table knows."""
        return self._paths

    def says(self, attribute: str) -> bool:
        """Tell whether the class sets an attribute to true in its body."""
        node = self._node()
        for item in node.body if isinstance(node, ast.ClassDef) else ():
            targets = item.targets if isinstance(item, ast.Assign) else [getattr(item, "target", 0)]
            named = any(isinstance(t, ast.Name) and t.id == attribute for t in targets)
            value = getattr(item, "value", None)
            if named and isinstance(value, ast.Constant) and value.value is True:
                return True
        return False

    @property
    def _paths(self) -> tuple[str, ...]:
        return self.bases or (self.path,)

    def full_doc(self) -> str:
        """Return the whole documentation from the source: of the class, then of ``__init__``."""
        node = self._node()
        return self.doc if node is None else _doc_of(node)

    def _node(self) -> ast.AST | None:
        name = self.path.rpartition(".")[2]
        tree = ast.parse(Path(self.file).read_bytes())
        for node in ast.walk(tree):
            if getattr(node, "lineno", 0) == self.line and getattr(node, "name", "") == name:
                return node
        return None

    def to_list(self) -> list[Any]:
        """Return plain values for JSON."""
        parameters = [
            [item.name, int(item.required), item.default, item.annotation]
            for item in self.signature.parameters
        ]
        flags = [int(self.signature.open), int(self.random)]
        return [self.file, self.line, self.doc, *flags, parameters, self.bases]

    @classmethod
    def from_list(cls, path: str, raw: list[Any]) -> Entry:
        """Rebuild from `to_list`."""
        file, line, doc, is_open, random, parameters, bases = raw
        made = tuple(
            Parameter(name, bool(required), default, annotation)
            for name, required, default, annotation in parameters
        )
        signature = Signature(made, bool(is_open))
        return cls(path, file, line, doc, signature, tuple(bases), bool(random))


class Table:
    """Entries by kind and name; several names may share an entry."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self._names: dict[str, dict[str, str]] = raw["names"]
        self._entries: dict[str, list[Any]] = raw["entries"]

    @classmethod
    def of(cls, kinds: dict[str, dict[str, Entry]]) -> Table:
        """Make a table of entries by kind and name."""
        return cls(
            {
                "names": {
                    kind: {name: entry.path for name, entry in entries.items()}
                    for kind, entries in kinds.items()
                },
                "entries": {
                    entry.path: entry.to_list()
                    for entries in kinds.values()
                    for entry in entries.values()
                },
            }
        )

    def names(self, kind: str) -> list[str]:
        """Return the names of a kind."""
        return list(self._names.get(kind, {}))

    def get(self, kind: str, name: str) -> Entry | None:
        """Return an entry by its name."""
        path = self._names.get(kind, {}).get(name)
        return Entry.from_list(path, self._entries[path]) if path is not None else None

    def by_path(self, kind: str, path: str) -> Entry | None:
        """Return an entry by the dotted path of its definition."""
        if path not in self._entries or path not in self._names.get(kind, {}).values():
            return None
        return Entry.from_list(path, self._entries[path])

    def save(self, file: Path) -> None:
        """Write the table, and remove tables of long-gone versions; a full disk is no obstacle."""
        try:
            write_text(file, json.dumps({"names": self._names, "entries": self._entries}))
            kind = file.name.partition("-")[0]
            others = sorted(
                file.parent.glob(f"{kind}-*.json"), key=lambda item: item.stat().st_mtime
            )
            for old in others[:-_KEPT]:
                old.unlink()
        except OSError:
            return  # it is made again next time


def first_line(node: ast.AST) -> str:
    """Return the first line of the documentation of a class or function."""
    return _doc_of(node).strip().partition("\n")[0].strip()


def _doc_of(node: ast.AST) -> str:
    if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return ""
    parts = [ast.get_docstring(node) or ""]
    for item in node.body if isinstance(node, ast.ClassDef) else ():
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            parts.append(ast.get_docstring(item) or "")
    return "\n\n".join(part for part in parts if part)
