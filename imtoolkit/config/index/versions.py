"""Keys that change when the index must be made again."""

from __future__ import annotations

import hashlib
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from imtoolkit.core.registry import ALLOWED_PACKAGES

from .modules import package_folder

_DISTRIBUTIONS: Final = {"pytorch_lightning": "pytorch-lightning"}


@lru_cache(maxsize=1)
def packages_key() -> str:
    """Return a key over versions and places of the packages, and over the code that reads them."""
    parts = [f"{sys.version_info.major}.{sys.version_info.minor}"]
    for package in ALLOWED_PACKAGES:
        if package == "imtoolkit":
            continue
        try:
            release = version(_DISTRIBUTIONS.get(package, package))
        except PackageNotFoundError:
            release = "none"
        parts.append(f"{package}=={release}@{package_folder(package)}")
    here = Path(__file__).resolve().parent
    core = here.parents[1] / "core"
    code = [*sorted(here.glob("*.py")), core / "registry.py", core / "refused.py"]
    return _hash([*parts, *map(_stamp, code)])


def own_key() -> str:
    """Return a key over all sources of imtoolkit, which developers edit, and over the packages."""
    root = Path(__file__).resolve().parents[2]
    return _hash([packages_key(), *(_stamp(file) for file in sorted(root.rglob("*.py")))])


def _stamp(file: Path) -> str:
    stat = file.stat()
    return f"{file}:{stat.st_mtime_ns}:{stat.st_size}"


def _hash(parts: list[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
