"""``imtoolkit cache list | verify | clear``: what the cache of preprocessed images holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from imtoolkit.core.errors import ConfigError

from .output import out

if TYPE_CHECKING:
    from imtoolkit.data.cache.manage import Verification

app = typer.Typer(
    help="List, verify and clear the cache of preprocessed images.",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
)

Root = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads it at run time
    typer.Option(
        "--root", help="Folder of the cache; left out, as IMTOOLKIT_CACHE or settings say."
    ),
]


@app.command("list")
def list_entries(root: Root = None) -> None:
    """Show what the cache holds: one line for each way of reading and preprocessing."""
    from imtoolkit.data.cache.manage import inspect

    folder = _root(root)
    entries = inspect(folder)
    out().read("cache", folder)
    columns = ["name", "images", "MB", "last used", "in use", "preprocess"]
    rows = [
        [
            entry.name,
            entry.items,
            f"{entry.nbytes / 1e6:.1f}",
            entry.used.strftime("%Y-%m-%d %H:%M"),
            "yes" if entry.in_use else "no",
            ", ".join(entry.steps),
        ]
        for entry in entries
    ]
    if rows:
        out().table(columns, rows)
    else:
        out().say("the cache is empty")
    out().result(root=folder, entries=entries)


@app.command()
def verify(
    root: Root = None,
    samples: Annotated[
        int, typer.Option("--samples", help="Images of each kind to make anew and compare.")
    ] = 3,
) -> int:
    """Read every cached image to the last byte, and make some anew to compare.

    What is broken or different is removed, so that the next run makes it anew; the exit code is
    then 1.
    """
    from imtoolkit.data.cache.manage import verify as verify_cache

    if samples < 0:
        message = f"got --samples {samples}; expected 0 or more"
        raise ConfigError(message)
    folder = _root(root)

    def track(paths: Sequence[Path]) -> Iterable[Path]:
        return out().progress(paths, "verifying", total=len(paths))

    found = verify_cache(folder, recompute=samples, progress=track)
    out().read("cache", folder)
    _tell(found)
    out().result(root=folder, sound=found.is_sound, **vars(found))
    return 0 if found.is_sound else 1


@app.command()
def clear(
    root: Root = None,
    unused_days: Annotated[
        float, typer.Option("--unused-days", help="Keep what was used in this many days.")
    ] = 0,
) -> None:
    """Remove what no running process uses; it is made anew when it is needed."""
    from imtoolkit.data.cache.manage import clear as clear_cache

    folder = _root(root)
    removed = clear_cache(folder, unused_days=unused_days)
    out().say(f"removed {removed.items} images ({removed.nbytes / 1e6:.1f} MB) from {folder}")
    if removed.spared:
        out().say(f"spared, because a running process uses them: {', '.join(removed.spared)}")
    out().result(root=folder, **vars(removed))


def _tell(found: Verification) -> None:
    out().say(f"{found.items} images read, {found.recomputed} made anew and found equal")
    for paths, what in (
        (found.torn, "cut or unfinished, removed"),
        (found.damaged, "damaged, removed"),
        (found.different, "came out different when made anew, removed"),
    ):
        for path in paths:
            out().warn(f"{path}: {what}")
    if found.stale:
        out().say(f"{found.stale} of those drawn belong to files that have changed or are gone")
    for name, reason in found.skipped.items():
        out().say(f"{name}: not made anew: {reason}")


def _root(given: Path | None) -> Path:
    from imtoolkit.config.settings import cache_root

    folder = given.expanduser().absolute() if given is not None else cache_root()
    if folder.exists() and not folder.is_dir():
        message = (
            f"the cache '{folder}' is a file, not a folder. Say where it is with --root or "
            "IMTOOLKIT_CACHE"
        )
        raise ConfigError(message)
    return folder
