"""YAML 1.2 scalars, lines, and nothing but data."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from imtoolkit.config.nodes import parse, read
from imtoolkit.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("3E4", 3e4),
        ("+.5", 0.5),
        ("1.", 1.0),
        ("010", 10),
        ("-7", -7),
        ("0x1F", 31),
        ("0o17", 15),
        ("no", "no"),
        ("Yes", "Yes"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2024-01-31", "2024-01-31"),
        ("True", True),
        ("false", False),
        ("~", None),
        ("null", None),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("-.inf", -math.inf),
        ("1.2.3", "1.2.3"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = parse(f"a: {text}").plain()["a"]
    assert found == value
    assert type(found) is type(value)


def test_every_value_knows_its_file_line_and_key() -> None:
    node = parse("a:\n  b:\n    - x\n    - {c: 1}\n", "f.yaml")
    deep = node.value["a"].value["b"].value[1].value["c"]
    assert (deep.place.file, deep.place.line, deep.place.key) == ("f.yaml", 4, "a.b.1.c")


def test_all_duplicate_keys_are_told_with_the_first_line() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("a: 1\nb: {c: 1, c: 2}\na: 2\n", "f.yaml")
    assert [str(problem) for problem in caught.value.problems] == [
        "f.yaml:2: b.c: the key stands twice, first in line 2. Remove one",
        "f.yaml:3: a: the key stands twice, first in line 1. Remove one",
    ]


@pytest.mark.parametrize(
    "text",
    ["a: !!python/object/apply:os.system [touch x]", "a: !!python/name:os.system", "a: !mine 1"],
)
def test_a_tag_makes_no_object(text: str, workdir: Path) -> None:
    with pytest.raises(ConfigError, match="is refused"):
        parse(text)
    assert list(workdir.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2\nb: 3", "f.yaml:2: is not valid YAML"),
        ("a:\n\tb: 1", "indent with spaces"),
        ("a: &x [*x]", "holds itself"),
        ("a: !!int x", "'x' is not of the type 'int'"),
        ("<<: {a: 1}", "start from a file with 'base:'"),
        ("? [1, 2]\n: 3", "a key must be a word or a number"),
        ("a: 1\n---\nb: 2", "expected a single document"),
    ],
)
def test_what_cannot_be_read_is_told_with_the_remedy(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(text, "f.yaml")


def test_aliases_of_aliases_do_not_fill_the_memory() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ConfigError, match="grows without bound"):
        parse("\n".join(levels))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"- 1\n", "holds a list"),
        (b"a: \xff\xfe", "is not a text file in UTF-8"),
    ],
)
def test_a_file_that_is_no_config_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read(path)


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="is a folder"):
        read(tmp_path)
