"""`docs/parity.md` answers for every ability, and names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "parity.md"
COUNTS = {"M": 21, "F": 23, "I": 16, "S": 11, "G": 10}
"""How many abilities each list has; their ids are M1 to M21, and so on."""
IDS = [f"{letter}{i}" for letter, count in COUNTS.items() for i in range(1, count + 1)]
STATES = {"yes", "partly", "planned"}


def rows() -> dict[str, list[str]]:
    """Return the cells of each row of the tables by id: ability, state, where, how, test."""
    found: dict[str, list[str]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and re.fullmatch(r"[A-Z]\d+", cells[0]):
            assert cells[0] not in found, f"{cells[0]} stands there twice"
            found[cells[0]] = cells[1:]
    return found


ROWS = rows()


def test_every_ability_has_a_row_and_nothing_else_has() -> None:
    assert list(ROWS) == IDS


@pytest.mark.parametrize("name", IDS)
def test_a_row_says_where_and_how_and_names_a_test(name: str) -> None:
    _, state, where, how, proof = ROWS[name]
    assert state in STATES, f"{name}: '{state}' is none of {sorted(STATES)}"
    if state == "planned":
        return
    assert where and how, f"{name} says neither where it lives nor how it is used"
    for path in re.findall(r"`([\w/]+(?:\.py|/))`", where):
        assert (ROOT / path).exists() or (ROOT / "imtoolkit" / path).exists(), f"{name}: no {path}"
    tests = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", proof)
    assert tests, f"{name} names no test"
    for file, function in tests:
        assert (ROOT / file).is_file(), f"{name} names {file}, which does not exist"
        if function:
            assert function in functions_of(ROOT / file), f"{name}: no {function} in {file}"


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
