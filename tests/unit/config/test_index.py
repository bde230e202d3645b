"""Signatures read from sources are those of the imported classes."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

from imtoolkit.config.index import Index, open_index
from imtoolkit.config.index.modules import Reader
from imtoolkit.config.index.signatures import Signature, Signatures
from imtoolkit.core import registry
from imtoolkit.core.errors import ComponentError

MODULE = """
from dataclasses import dataclass
from typing import ClassVar
import torch.nn as nn

class Base(nn.Module):
    def __init__(self, a: int, b: str = "x", *, c=None): ...

class Inherits(Base): ...

class Forwards(Base):
    def __init__(self, d, **kwargs):
        super().__init__(1, c=3, **kwargs)

class Takes:
    def __init__(self, **kwargs):
        self.e = kwargs.pop("e", 1)
        if kwargs:
            raise ValueError(sorted(kwargs))

class Keeps:
    def __init__(self, **kwargs):
        self.kwargs = kwargs

def make(f: float = 0.5, **kwargs) -> Base:
    return Forwards(d=1, **kwargs)

@dataclass
class Data:
    g: int
    h: str = "y"
    shared: ClassVar[int] = 3

Alias = Other = Forwards
try:
    from nowhere import Optional
except ImportError:
    Optional = None
"""


@pytest.fixture
def signatures(tmp_path: Path) -> Signatures:
    file = tmp_path / "mine.py"
    file.write_text(MODULE)
    return Signatures(Reader({"mine": file}))


def _of(signatures: Signatures, name: str) -> Signature:
    found = signatures.reader.lookup("mine", name)
    assert found is not None
    return signatures.of(found)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "names", "required", "is_open"),
    [
        ("Base", ["a", "b", "c"], ["a"], False),
        ("Inherits", ["a", "b", "c"], ["a"], False),
        ("Forwards", ["d", "b"], ["d"], False),
        ("Takes", ["e"], [], False),
        ("Keeps", [], [], True),
        ("make", ["f", "b"], [], False),
        ("Data", ["g", "h"], ["g"], False),
        ("Other", ["d", "b"], ["d"], False),
    ],
)
def test_kwargs_are_followed_to_where_they_go(
    signatures: Signatures, name: str, names: list[str], required: list[str], is_open: bool
) -> None:
    found = _of(signatures, name)
    assert found.names == names
    assert [item.name for item in found.parameters if item.required] == required
    assert found.open is is_open


def test_defaults_and_annotations_are_kept_as_text(signatures: Signatures) -> None:
    b = _of(signatures, "Base").parameters[1]
    assert (b.default, b.annotation) == ("'x'", "str")


def test_aliases_and_dotted_paths_lead_to_one_entry() -> None:
    index = open_index()
    names = ("RandFlipd", "RandFlipD", "RandFlipDict", "monai.transforms.RandFlipd")
    assert len({index.get("transform", name).path for name in names}) == 1  # type: ignore[union-attr]
    assert index.get("loss", "RandFlipd") is None
    assert index.get("net", "os.system") is None


def test_the_order_of_bases_is_that_of_python() -> None:
    reader = Signatures(Reader())
    found = reader.reader.find("monai.transforms.RandFlipd")
    transforms = importlib.import_module("monai.transforms")
    true = [item.__name__ for item in inspect.getmro(transforms.RandFlipd)][:-1]
    true.remove("ABC")  # of the standard library, which is not read
    ours = [item.path.rpartition(".")[2] for item in reader.order(found)]  # type: ignore[arg-type]
    assert ours == true


def test_the_index_is_kept_and_a_torn_file_is_made_again(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Index()
    names = first.names("optimizer")
    (packages,) = (workdir / "cache" / "index").glob("packages-*.json")
    packages.write_text(packages.read_text()[:1000])
    assert Index().names("optimizer") == names
    made: list[str] = []
    monkeypatch.setattr("imtoolkit.config.index.Builder.packages", lambda: made.append("x"))
    assert Index().names("optimizer") == names
    assert made == []


def test_an_index_that_cannot_be_kept_still_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IMTOOLKIT_CACHE", str(tmp_path / "file"))  # no folder can be made there
    assert "AdamW" in Index().names("optimizer")


def test_builtins_of_the_rooms_are_found_as_the_registry_finds_them() -> None:
    index = open_index()
    for kind in registry.KINDS:
        for name in registry.builtins_of(kind):
            entry = index.get(kind, name)
            assert entry is not None, (kind, name)
            try:
                found = registry.resolve(kind, name)
            except ComponentError:
                pytest.fail(f"{kind} {name} is not what its table says")
            assert entry.path == f"{found.__module__}.{found.__qualname__}"


def _truth(kind: registry.Kind) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for space in reversed(kind.namespaces):
        module = importlib.import_module(space)
        for name in dir(module):
            if name.startswith("_"):
                continue
            if (kind.name, space) == ("loss", "torch.nn") and not name.endswith("Loss"):
                continue
            try:
                registry._check_kind(kind, name, getattr(module, name))
            except ComponentError:
                continue
            found[name] = getattr(module, name)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in registry.KINDS.values() if kind.namespaces])
def test_names_and_signatures_equal_those_of_the_imported_modules(kind: registry.Kind) -> None:
    index = open_index()
    truth = _truth(kind)
    assert set(truth) == set(index.names(kind.name)) - set(index.builtins(kind.name)) | (
        set(truth) & set(index.builtins(kind.name))
    )
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for name in set(truth) - set(index.builtins(kind.name)):
        entry = index.get(kind.name, name)
        assert entry is not None
        parameters = inspect.signature(truth[name]).parameters.values()
        plain = [item for item in parameters if item.kind not in variadic]
        ours = {item.name: item for item in entry.signature.parameters}
        assert {item.name for item in plain} <= set(ours), name
        if len(plain) == len(parameters):
            assert [item.name for item in plain] == list(ours), name
            assert not entry.signature.open, name
        required = [item.name for item in plain if item.default is item.empty]
        assert required == [item.name for item in plain if ours[item.name].required], name
