"""When a cached item may be used: the recipe of a data set, and the key of each item.

A key is a hash over everything that the item is made of: the files of the row and their content's
signature, how they are read, the preprocessing, the versions of the packages that do it, and the
source of everything that no package version covers. Split, group and other columns have no part in
it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from imtoolkit.config import plugins as plugin_modules
from imtoolkit.config.sections import DataConfig
from imtoolkit.core import registry
from imtoolkit.core.errors import ComponentError
from imtoolkit.core.facts import TargetSpec
from imtoolkit.data.cache.files import FORMAT_VERSION
from imtoolkit.data.domains import domain_of
from imtoolkit.data.fingerprint import array_signature, file_signature
from imtoolkit.data.loading import cells
from imtoolkit.data.references import parse

_PACKAGES: Final = (
    *("monai", "numpy", "torch", "scipy", "scikit-image", "nibabel", "pydicom", "h5py", "zarr"),
    *("tifffile", "imagecodecs", "bioio", "bioio-ome-tiff", "bioio-ome-zarr", "bioio-tifffile"),
    *("bioio-imageio", "bioio-czi", "bioio-nd2", "bioio-lif"),
)
"""Packages whose version changes what a file becomes."""
_OWN: Final = ("imtoolkit.io", "imtoolkit.data", "imtoolkit.labels")
"""Our own rooms that read and preprocess: their source counts, whatever the release says."""
KEY_BYTES: Final = 16


def recipe_of(config: DataConfig, target: TargetSpec, plugins: Sequence[str]) -> dict[str, Any]:
    """Return everything that the items of a data set have in common, as plain values."""
    components = [*config.preprocess, *([config.reader] if config.reader else [])]
    plugin_modules.load(list(plugins))
    return {
        "format": FORMAT_VERSION,
        "read": {
            name: getattr(config, name)
            for name in (
                *("axes", "target_axes", "channels", "target_channels"),
                *("scene", "time", "z_range"),
            )
        },
        "reader": asdict(config.reader) if config.reader else None,
        "preprocess": [asdict(component) for component in config.preprocess],
        "target": {
            "kind": target.kind.value,
            "classes": list(target.classes),
            "unpaired": target.unpaired,
            "annotations": target.annotations,
        },
        "versions": _versions(),
        "sources": {**_own_sources(), **dict(_foreign_sources(components))},
        "plugins": list(plugins),
    }


def recipe_name(recipe: Mapping[str, Any]) -> str:
    """Return the hash of a recipe; where a plugin's file lies has no part in it."""
    hashed = {key: value for key, value in recipe.items() if key != "plugins"}
    return _digest(json.dumps(hashed, sort_keys=True).encode(), 8)


def item_key(
    recipe: str,
    row: Mapping[str, Any],
    target: TargetSpec,
    arrays: Sequence[Any] = (),
    signature: Callable[[str], str] = file_signature,
) -> str:
    """Return the key of one sample, 32 hexadecimal digits.

    Args:
        recipe: See `recipe_name`.
        row: The sample's row of the manifest.
        target: What the task wants of the target.
        arrays: Pixels in memory that the row may refer to.
        signature: Tells a file's content, size and time in a few characters.
    """
    used = cells(row, target)
    signatures = {key: _signature(cell, arrays, signature) for key, cell in used.items()}
    parts = [recipe, used, signatures, domain_of(row, target)]
    return _digest(json.dumps(parts, sort_keys=True).encode(), KEY_BYTES)


def _signature(reference: str, arrays: Sequence[Any], of_file: Callable[[str], str]) -> str:
    place = parse(reference)
    if place.in_memory:
        return array_signature(arrays[place.index or 0])
    return of_file(reference)


def _digest(content: bytes, size: int) -> str:
    return hashlib.blake2b(content, digest_size=size).hexdigest()


@functools.lru_cache(maxsize=1)
def _installed() -> tuple[tuple[str, str], ...]:
    found = []
    for package in _PACKAGES:
        try:
            found.append((package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return tuple(found)


def _versions() -> dict[str, str]:
    return dict(_installed())


@functools.lru_cache(maxsize=1)
def _own_sources() -> dict[str, str]:
    found = {}
    for room in _OWN:
        folder = Path(str(importlib.import_module(room).__file__)).parent
        found[room] = _source_digest(_relevant(folder))
    return found


def _relevant(folder: Path) -> list[Path]:
    # of data: transforms and what calls them; a sampler's source does not change an image
    names = (
        *("loading.py", "domains.py", "preprocess.py", "checks.py", "references.py"),
        *("content.py", "foreground.py", "objects.py"),
    )
    if folder.name == "labels":
        return [folder / name for name in ("numbering.py", "parts.py")]
    if folder.name == "data":
        return [
            *sorted((folder / "transforms").glob("*.py")),
            *(path for path in sorted(folder.rglob("*.py")) if path.name in names),
        ]
    return sorted(folder.rglob("*.py"))


def _foreign_sources(components: Sequence[Any]) -> Iterator[tuple[str, str]]:
    for kind, component in _walk("transform", [_plain_component(item) for item in components]):
        name = component["name"]
        try:
            found = registry.resolve(kind, name)
        except ComponentError:
            if kind == "transform":
                found = registry.resolve("reader", name)
            else:
                raise
        root = found.__module__.partition(".")[0]
        plugin = found.__module__.startswith(f"{plugin_modules.__name__}.")
        if plugin or root not in registry.ALLOWED_PACKAGES:
            yield f"component {name}", _source_of(found)


def _plain_component(component: Any) -> dict[str, Any]:
    """Return a component as the mapping ``name, params``."""
    return {"name": component.name, "params": dict(component.params)}


def _walk(kind: str, value: Any, parameter: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    if registry.is_component(value):
        own = registry.nested_kind(kind, parameter) if parameter else kind
        yield own, value
        for key, inner in value["params"].items():
            yield from _walk(own, inner, key)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _walk(kind, inner, parameter)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _walk(kind, inner, parameter)


def _source_of(found: Any) -> str:
    module = sys.modules[found.__module__]
    file = getattr(module, "__file__", None)
    if file is not None:
        return _source_digest(_module_files(module, Path(file)))
    try:  # defined in a notebook
        return _digest(inspect.getsource(found).encode(), KEY_BYTES)
    except (OSError, TypeError) as error:
        message = (
            f"the source of '{found.__qualname__}' cannot be read, so the cache could not tell "
            "when it changes. Put it into a file, or set data.cache.kind: none"
        )
        raise ComponentError(message) from error


def _module_files(module: ModuleType, file: Path) -> list[Path]:
    """Return the files whose change may change a component: its module, or its whole package."""
    root = module.__name__.partition(".")[0]
    if module.__name__.startswith(f"{plugin_modules.__name__}."):
        # plugin files may import each other
        names = [name for name in sys.modules if name.startswith(f"{plugin_modules.__name__}.")]
        files = [getattr(sys.modules[name], "__file__", None) for name in sorted(names)]
        return [Path(found) for found in files if found]
    package = getattr(sys.modules.get(root), "__file__", None)
    if package and Path(package).name == "__init__.py":
        return sorted(Path(package).parent.rglob("*.py"))
    return [file]


def _source_digest(files: Sequence[Path]) -> str:
    hasher = hashlib.blake2b(digest_size=KEY_BYTES)
    for path in files:
        hasher.update(path.name.encode() + b"\0" + path.read_bytes())
    return hasher.hexdigest()
