"""Builds the entries of the index by reading sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from imtoolkit.core.closures import CLOSURES
from imtoolkit.core.refused import COMPONENTS, PARAMETERS
from imtoolkit.core.registry import KINDS, Kind

from .entry import Entry, Table, first_line
from .modules import Definition, Reader
from .signatures import Signatures


class Builder:
    """Makes entries with one `Reader`, which remembers the modules it has parsed."""

    def __init__(self, reader: Reader | None = None) -> None:
        self.reader = reader or Reader()
        self.signatures = Signatures(self.reader)
        self._expected: dict[str, set[str]] = {}

    @classmethod
    def packages(cls) -> Table:
        """Return the table of the components in the namespaces of all kinds."""
        builder = cls()
        return Table.of({name: builder.namespaces(kind) for name, kind in KINDS.items()})

    @classmethod
    def own(cls) -> Table:
        """Return the table of imtoolkit's built-ins."""
        builder = cls()
        return Table.of({name: dict(builder.builtins(kind)) for name, kind in KINDS.items()})

    def namespaces(self, kind: Kind) -> dict[str, Entry]:
        """Return the components of a kind among the public names of its namespaces."""
        table: dict[str, Entry] = {}
        for space in reversed(kind.namespaces):  # the first namespace wins
            found = self.public(kind.name, space, factories=kind.factories)
            if (kind.name, space) == ("loss", "torch.nn"):  # a layer is a module as a loss is one
                found = {name: entry for name, entry in found.items() if name.endswith("Loss")}
            table.update(found)
        return dict(sorted(table.items()))

    def public(self, kind: str, module_name: str, *, factories: bool = False) -> dict[str, Entry]:
        """Return the components of a kind among the public names of one module."""
        table: dict[str, Entry] = {}
        for name in self._all_names(module_name):
            if name.startswith("_"):
                continue
            found = self.reader.lookup(module_name, name)
            if not isinstance(found, Definition):
                continue
            plugin = not factories and found.module == module_name and KINDS[kind].functions
            is_function = not isinstance(found.node, ast.ClassDef)
            if is_function and not (plugin or (factories and self._is_factory(kind, found))):
                continue
            if is_function or self.is_kind(kind, found):
                table[name] = self.make(found)
        return table

    def builtins(self, kind: Kind) -> Iterator[tuple[str, Entry]]:
        """Yield (name, entry) of the tables ``BUILTINS`` in the rooms of a kind."""
        for room in kind.rooms:
            module = self.reader.module(room)
            node = module.symbols.get("BUILTINS") if module is not None else None
            if not isinstance(node, ast.expr):
                continue
            for name, target in ast.literal_eval(node).get(kind.name, {}).items():
                module_name, _, attribute = target.partition(":")
                found = self.reader.lookup(module_name, attribute)
                if isinstance(found, Definition):
                    yield name, self.make(found)

    def find(self, path: str) -> Definition | None:
        """Return the definition at a dotted path, or None."""
        found = self.reader.find(path)
        return found if isinstance(found, Definition) else None

    def entry(self, kind: str, path: str, *, plugin: bool = False) -> Entry | None:
        """Return the entry at a dotted path, if it is of this kind."""
        found = self.find(path)
        if found is None:
            return None
        if isinstance(found.node, ast.ClassDef):
            return self.make(found) if self.is_kind(kind, found) else None
        allowed = KINDS[kind].functions and plugin
        allowed = allowed or (KINDS[kind].factories and self._is_factory(kind, found))
        return self.make(found) if allowed else None

    def make(self, found: Definition) -> Entry:
        """Make an entry of a definition."""
        paths = [found.path]
        if isinstance(found.node, ast.ClassDef):
            paths = [item.path for item in self.signatures.order(found)]
        tables = (PARAMETERS, COMPONENTS, CLOSURES)
        matter = tuple(path for path in paths[1:] if any(path in table for table in tables))
        return Entry(
            found.path,
            str(found.file),
            found.node.lineno,
            first_line(found.node),
            self.signatures.of(found),
            (paths[0], *matter),
            any(path.startswith("monai.transforms.") and "Randomiz" in path for path in paths),
        )

    def is_kind(self, kind: str, found: Definition) -> bool:
        """Tell whether a class is derived from what the kind expects."""
        if kind not in self._expected:
            bases = [self.reader.find(path) for path in KINDS[kind].expects]
            self._expected[kind] = {base.path for base in bases if isinstance(base, Definition)}
        return any(item.path in self._expected[kind] for item in self.signatures.order(found))

    def _is_factory(self, kind: str, found: Definition) -> bool:
        node = found.node
        if isinstance(node, ast.ClassDef) or node.returns is None:
            return False
        if not any(found.module.startswith(space) for space in KINDS[kind].namespaces):
            return False
        returned = self.reader.expression(found.module, node.returns)
        return isinstance(returned, Definition) and self.is_kind(kind, returned)

    def _all_names(self, module_name: str) -> list[str]:
        """Return the names that ``dir`` of the imported module would show, imports included."""
        module = self.reader.module(module_name)
        if module is None:
            return []
        names = list(module.symbols)
        for star in module.stars:
            names += self.reader.public_names(star)
        return list(dict.fromkeys(names))
