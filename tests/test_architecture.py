"""The layout of the package holds: who imports whom, what stays light, what prints."""

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "imtoolkit"

MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "config": {"core"},
    "labels": {"core"},
    "io": {"core"},
    "nets": {"core"},
    "optim": {"core"},
    "losses": {"core", "labels"},
    "metrics": {"core", "labels"},
    "figures": {"core", "labels"},
    "runs": {"core", "config"},
    "data": {"core", "config", "labels", "io", "figures"},
    "inference": {"core", "config", "labels", "io"},
    "samples": {"core", "labels", "io"},
    "tasks": {"core", "config", "labels", "nets", "losses", "optim", "metrics", "inference"},
    "callbacks": {"core", "config", "labels", "io", "metrics", "figures", "runs"},
    "report": {"core", "config", "labels", "io", "metrics", "figures", "runs"},
    "trainer": {
        *("core", "config", "io", "nets", "metrics", "runs", "data", "inference", "tasks"),
        *("callbacks", "report"),
    },
    "audit": {"core", "config", "labels", "io", "metrics", "figures", "data", "report", "trainer"},
    "export": {"core", "config", "io", "runs", "data", "inference", "tasks", "report", "trainer"},
    "sweeps": {"core", "config", "metrics", "figures", "runs", "report", "trainer"},
    "cluster": {"core", "config", "runs"},
}
"""The rooms that each room may import; `cli` may import all. No two rooms import each other."""

OUTSIDE: dict[str, set[str]] = {"core": set(), "labels": {"numpy", "scipy"}}
"""Rooms that keep to a few packages from outside the standard library."""

HEAVY = {"torch", "monai", "pytorch_lightning", "torchmetrics"}
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def imports(path: Path, *, with_type_checking: bool = True) -> Iterator[tuple[int, str]]:
    """Yield line and absolute name of each import of a file, those inside functions included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = set() if with_type_checking else set(_below_type_checking(tree))
    package = ".".join(("imtoolkit", *path.relative_to(PACKAGE).parent.parts))
    for node in ast.walk(tree):
        if node in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _name(node.func) == "import_module" and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value


def _below_type_checking(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and _name(node.test) == "TYPE_CHECKING":
            for child in node.body:
                yield from ast.walk(child)


def _name(node: ast.AST) -> str:
    return getattr(node, "attr", getattr(node, "id", ""))


def _where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_every_room_has_a_row() -> None:
    assert set(ROOMS) - {"cli"} <= set(MAY_IMPORT)
    assert "utils" not in ROOMS


def test_a_room_imports_only_what_its_row_allows() -> None:
    wrong = []
    for path in MODULES:
        room = room_of(path)
        if room in {"", "cli"}:
            continue
        for line, name in imports(path):
            parts = name.split(".")
            if parts[0] != "imtoolkit":
                continue
            other = parts[1] if len(parts) > 1 else ""
            # the bare package holds the lazy Python API, above all rooms; its version is free
            if other == "__version__" or other == room or other in MAY_IMPORT[room]:
                continue
            wrong.append(f"{_where(path, line)}: {room} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_the_table_has_no_circle() -> None:
    done: set[str] = set()
    while len(done) < len(MAY_IMPORT):
        ready = {room for room, below in MAY_IMPORT.items() if room not in done and below <= done}
        assert ready, f"a circle among {sorted(set(MAY_IMPORT) - done)}"
        done |= ready


@pytest.mark.parametrize("room", sorted(OUTSIDE))
def test_low_rooms_use_few_packages(room: str) -> None:
    allowed = {"imtoolkit", *sys.stdlib_module_names, *OUTSIDE[room]}
    wrong = [
        f"{_where(path, line)}: {name}"
        for path in (PACKAGE / room).rglob("*.py")
        for line, name in imports(path, with_type_checking=False)
        if name.split(".")[0] not in allowed
    ]
    assert not wrong, "\n".join(wrong)


def test_the_config_never_imports_torch() -> None:
    wrong = [
        f"{_where(path, line)}: {name}"
        for path in (PACKAGE / "config").rglob("*.py")
        for line, name in imports(path, with_type_checking=False)
        if name.split(".")[0] in HEAVY
    ]
    assert not wrong, "\n".join(wrong)


def test_importing_a_room_does_not_import_torch() -> None:
    names = ["imtoolkit", *(f"imtoolkit.{room}" for room in ROOMS), "imtoolkit.config.sections"]
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        f"    heavy = sorted({HEAVY!r} & set(sys.modules))\n"
        "    assert not heavy, f'{name} imports {heavy}'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def builtins_tables() -> Iterator[tuple[str, str, str]]:
    """Yield room, name and ``module:attribute`` of every built-in, read without importing."""
    for room in ROOMS:
        tree = ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))
        for node in tree.body:
            targets = (
                node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            )
            if any(isinstance(item, ast.Name) and item.id == "BUILTINS" for item in targets):
                assert isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
                for table in ast.literal_eval(node.value).values():
                    yield from ((room, name, place) for name, place in table.items())


def test_every_builtin_stands_where_its_table_says() -> None:
    wrong = []
    for room, name, place in builtins_tables():
        module, _, attribute = place.partition(":")
        path = ROOT.joinpath(*module.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if not path.is_file() or attribute not in _names_in(path):
            wrong.append(f"{room}: '{name}' is said to be {place}")
    assert not wrong, "\n".join(wrong)


def _names_in(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign):
            names.update(item.id for item in node.targets if isinstance(item, ast.Name))
    return names


def test_only_the_command_line_prints() -> None:
    wrong = [
        _where(path, node.lineno)
        for path in MODULES
        if room_of(path) != "cli"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not wrong, "\n".join(wrong)


def test_no_file_names_a_path_of_one_machine() -> None:
    homes = r"/(?:root|work)/\w|/(?:home|Users)/(?!me\b)\w|[A-Z]:\\+Users(?!\\+me\b)"
    absolute = re.compile(rf"(?<![\w.{{$<>])(?:{homes})")
    shown = {".py", ".md", ".yaml", ".yml", ".toml", ".txt", ".sh", ".ipynb", ".cff", ".csv", ""}
    wrong = []
    for folder in ("imtoolkit", "configs", "examples", "bench", "docs", "tests", ".ci"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path == Path(__file__) or not path.is_file() or path.suffix not in shown:
                continue
            lines = path.read_text(encoding="utf-8").splitlines()
            wrong += [_where(path, i) for i, line in enumerate(lines, 1) if absolute.search(line)]
    assert not wrong, "\n".join(wrong)
