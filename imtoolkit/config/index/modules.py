"""Python modules read as text: what a name in a module stands for, without importing anything.

Importing torch and MONAI takes seconds and runs their code; parsing the few files that define a
component takes milliseconds and runs none, so a plugin that nobody trusts can be read as well.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Definition:
    """Where a class or function is defined.

    Attributes:
        module: Name of the module.
        node: Its syntax tree.
        file: The file of the module.
    """

    module: str
    node: ast.ClassDef | FunctionNode
    file: Path

    @property
    def path(self) -> str:
        """Dotted path, such as ``monai.networks.nets.unet.UNet``."""
        return f"{self.module}.{self.node.name}"


@dataclass(frozen=True)
class ModuleName:
    """What a name stands for when it is a module."""

    name: str


@dataclass(frozen=True)
class _Import:
    """A name that comes from elsewhere: ``from module import name``, or ``import module``."""

    module: str
    name: str = ""


_Symbol = ast.ClassDef | FunctionNode | ast.expr | _Import
Found = Definition | ModuleName


class Module:
    """One parsed module: its symbols in the order of the file, later ones winning."""

    def __init__(self, name: str, file: Path) -> None:
        self.name = name
        self.file = file
        self.is_package = file.name == "__init__.py"
        self.symbols: dict[str, _Symbol] = {}
        self.stars: list[str] = []
        self.tree = ast.parse(file.read_bytes(), filename=str(file))
        self._collect(self.tree.body)

    @cached_property
    def exported(self) -> list[str] | None:
        """The names in ``__all__``, where it is a plain list."""
        value = self.symbols.get("__all__")
        if not isinstance(value, (ast.List, ast.Tuple)):
            return None
        return [str(item.value) for item in value.elts if isinstance(item, ast.Constant)]

    def _collect(self, body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                self.symbols[node.name] = node
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        self.symbols[target.id] = node.value
            elif isinstance(node, ast.AnnAssign):
                if isinstance(node.target, ast.Name) and node.value is not None:
                    self.symbols[node.target.id] = node.value
            elif isinstance(node, ast.ImportFrom):
                self._collect_import(node)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    module = alias.name if alias.asname else alias.name.partition(".")[0]
                    self.symbols[alias.asname or module] = _Import(module)
            else:
                self._collect_branches(node)

    def _collect_branches(self, node: ast.stmt) -> None:
        """Read the branches of ``if`` and ``try``; the one normally taken comes last and wins."""
        if isinstance(node, ast.If):
            typing_only = "TYPE_CHECKING" in ast.unparse(node.test)
            first, last = (node.body, node.orelse) if typing_only else (node.orelse, node.body)
            self._collect(first)
            self._collect(last)
        elif isinstance(node, ast.Try):
            for handler in node.handlers:
                self._collect(handler.body)
            self._collect([*node.body, *node.orelse, *node.finalbody])
        elif isinstance(node, ast.With):
            self._collect(node.body)

    def _collect_import(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            parts = self.name.split(".")
            up = node.level - 1 if self.is_package else node.level
            parts = parts[: len(parts) - up]
            base = ".".join([*parts, *([node.module] if node.module else [])])
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(base)
            else:
                self.symbols[alias.asname or alias.name] = _Import(base, alias.name)


class Reader:
    """Finds modules on the import path and follows names through them."""

    def __init__(self, extra: Mapping[str, Path] | None = None) -> None:
        """Args: ``extra`` maps names of modules that are not on the import path to their files."""
        self._extra = dict(extra or {})
        self._modules: dict[str, Module | None] = {}

    def module(self, name: str) -> Module | None:
        """Return a parsed module, or None where there is no such Python file."""
        if name not in self._modules:
            file = self._extra.get(name) or module_file(name)
            try:
                self._modules[name] = Module(name, file) if file is not None else None
            except (SyntaxError, OSError, ValueError):
                self._modules[name] = None
        return self._modules[name]

    def find(self, path: str) -> Found | None:
        """Follow a dotted path such as ``torch.nn.Module`` to its definition."""
        head, *rest = path.split(".")
        return self._descend(ModuleName(head), rest)

    def lookup(
        self, module_name: str, name: str, seen: frozenset[tuple[str, str]] = frozenset()
    ) -> Found | None:
        """Find what ``name`` stands for in a module, through imports, aliases and star imports."""
        module = self.module(module_name)
        if module is None or (module_name, name) in seen:
            return None
        seen = seen | {(module_name, name)}
        symbol = module.symbols.get(name)
        if isinstance(symbol, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            return Definition(module_name, symbol, module.file)
        if isinstance(symbol, _Import):
            return self._imported(symbol, seen)
        if isinstance(symbol, (ast.Name, ast.Attribute)):
            return self.expression(module_name, symbol, seen)
        for star in () if symbol is not None else module.stars:
            if name in self.public_names(star):
                return self.lookup(star, name, seen)
        submodule = f"{module_name}.{name}"
        return ModuleName(submodule) if symbol is None and self._is_module(submodule) else None

    def expression(
        self, module_name: str, node: ast.expr, seen: frozenset[tuple[str, str]] = frozenset()
    ) -> Found | None:
        """Find what ``a`` or ``a.b.c`` stands for in a module."""
        parts = dotted_parts(node)
        if not parts:
            return None
        found = self.lookup(module_name, parts[0], seen)
        return self._descend(found, parts[1:], seen) if found is not None else None

    def public_names(self, module_name: str) -> list[str]:
        """Return the names that a star import of a module brings."""
        module = self.module(module_name)
        if module is None:
            return []
        if module.exported is not None:
            return module.exported
        names = [name for name in module.symbols if not name.startswith("_")]
        for star in module.stars:
            names += self.public_names(star)
        return list(dict.fromkeys(names))

    def _imported(self, symbol: _Import, seen: frozenset[tuple[str, str]]) -> Found | None:
        if not symbol.name:
            return ModuleName(symbol.module)
        found = self.lookup(symbol.module, symbol.name, seen)
        submodule = f"{symbol.module}.{symbol.name}"
        return ModuleName(submodule) if found is None and self._is_module(submodule) else found

    def _is_module(self, name: str) -> bool:
        return name in self._extra or module_file(name) is not None

    def _descend(
        self, found: Found | None, parts: list[str], seen: frozenset[tuple[str, str]] = frozenset()
    ) -> Found | None:
        for part in parts:
            if not isinstance(found, ModuleName):
                return None  # a class inside a class is not followed
            found = self.lookup(found.name, part, seen)
        return found


def dotted_parts(node: ast.expr) -> list[str]:
    """Return ``["a", "b"]`` for the expression ``a.b``; empty for anything else."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        parts = dotted_parts(node.value)
        return [*parts, node.attr] if parts else []
    return []


def walk_function(node: FunctionNode) -> Iterator[ast.AST]:
    """Yield the nodes of a function's body."""
    for statement in node.body:
        yield from ast.walk(statement)


_roots: dict[str, Path | None] = {}


def package_folder(name: str) -> Path | None:
    """Return the folder (or file) of a top-level package, without importing it."""
    if name not in _roots:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
        origin = spec.origin if spec is not None else None
        _roots[name] = Path(origin) if origin and origin.endswith(".py") else None
    return _roots[name]


def module_file(name: str) -> Path | None:
    """Return the file of a module, without importing anything."""
    head, *rest = name.split(".")
    root = package_folder(head)
    if root is None or not rest:
        return root
    base = root.parent.joinpath(*rest)
    for file in (base / "__init__.py", base.with_name(f"{base.name}.py")):
        if file.is_file():
            return file
    return None
