"""The configs that come with imtoolkit, found by their bare name."""

from __future__ import annotations

import site
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from imtoolkit.core.errors import ConfigError, Problem, did_you_mean


def preset_folders() -> list[Path]:
    """Return the folders that hold presets: ``configs/`` of a checkout, or of the installation."""
    checkout = Path(__file__).resolve().parents[2] / "configs"
    bases = [sysconfig.get_path("data"), site.getuserbase()]
    installed = [Path(base) / "share" / "imtoolkit" / "configs" for base in bases if base]
    return [folder for folder in (checkout, *installed) if folder.is_dir()]


def presets() -> dict[str, Path]:
    """Return name -> file of all presets, such as ``segmentation/nuclei_2d``."""
    return dict(reversed(list(_presets())))


def _presets() -> Iterator[tuple[str, Path]]:
    for folder in preset_folders():
        for path in sorted(folder.rglob("*.yaml")):
            yield path.relative_to(folder).with_suffix("").as_posix(), path


def find_config(reference: str | Path) -> Path:
    """Return the file of a config: a path, or the name of a preset with or without its task.

    ``configs/segmentation/nuclei_2d.yaml`` is the preset in folders without such a file as well.

    Raises:
        ConfigError: If there is neither.
    """
    path = Path(reference).expanduser()
    if path.exists():
        return path
    word = Path(reference).as_posix().removesuffix(".yaml").removeprefix("configs/")
    known = presets()
    hits = [name for name in known if word in (name, name.rpartition("/")[2])]
    if len(hits) == 1:
        return known[hits[0]]
    if hits:
        message = f"is the name of several presets: {', '.join(hits)}. Name the task as well"
        raise ConfigError(Problem(message, file=str(reference)))
    if known:
        hint = did_you_mean(word, [*known, *(name.rpartition("/")[2] for name in known)])
        message = f"no such file, nor a preset of this name.{hint} Presets: {', '.join(known)}"
    else:
        message = "no such file"
    raise ConfigError(Problem(message, file=str(reference)))
