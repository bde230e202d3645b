"""``imtoolkit samples``: draw sample images with exact truth, or fetch a public data set."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Optional

import typer

from imtoolkit.core.errors import ConfigError

from .output import out

NAME_HELP = (
    "nuclei, membranes, denoise, label_free, lesions, shapes, wells, unpaired, hippocampus; or a "
    "public set: mednist, "
    "decathlon:Task04_Hippocampus"
)


def samples(
    name: Annotated[str, typer.Argument(help=NAME_HELP)],
    folder: Annotated[Path, typer.Argument(help="Where to put them; a folder of its own.")],
    count: Annotated[
        Optional[int],  # noqa: UP045 - typer reads it at run time
        typer.Option("--count", help="Number of pictures; left out, enough for a first training."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the drawings.")] = 0,
    dims: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--dims", help="2 or 3 dimensions; left out, what is usual for the sample."),
    ] = None,
) -> None:
    """Draw sample images with exact truth into a folder, or fetch a public data set."""
    from imtoolkit.samples.public import is_public

    if not is_public(name):
        _draw(name, folder, count, seed, dims)
        return
    if count is not None or dims is not None or seed:
        message = (
            f"'{name}' is a public set, fetched as it is: --count, --seed and --dims do not apply"
        )
        raise ConfigError(message)
    _fetch(name, folder)


def _draw(name: str, folder: Path, count: int | None, seed: int, dims: int | None) -> None:
    from imtoolkit.samples.folder import draw

    def track(indices: Iterable[int]) -> Iterable[int]:
        return out().progress(indices, f"drawing {name}")

    path = draw(name, folder, count=count, seed=seed, dims=dims, track=track)
    parts = sorted(part.name for part in path.iterdir() if part.is_dir())
    out().wrote(f"{name} ({', '.join(parts)})", path)
    out().result(name=name, folder=path, parts=parts)


def _fetch(name: str, folder: Path) -> None:
    from imtoolkit.samples.public import fetch

    out().say(f"fetching {name}; this can take a while")
    fetched = fetch(name, folder, progress=out().talks)
    out().wrote(f"{fetched.images} images of {name}", fetched.path)
    params = ", ".join(f"{key}: {value}" for key, value in fetched.source["params"].items())
    out().say(f"config data.source: {{name: {fetched.source['name']}, params: {{{params}}}}}")
    out().result(name=name, folder=fetched.path, images=fetched.images, source=fetched.source)
