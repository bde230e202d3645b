"""The folder of all runs: making a run, finding, listing and deleting runs."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from imtoolkit.core.errors import RunError, did_you_mean, listed
from imtoolkit.core.files import write_json
from imtoolkit.runs.layout import CONFIG, STATUS
from imtoolkit.runs.run import Run
from imtoolkit.runs.status import State, new_status


def create_run(
    name: str, root: Path, fill: Callable[[Path], None], *, path: Path | None = None
) -> Run:
    """Make a new run folder with its config and status; it appears whole or not at all.

    Args:
        name: Name of the run; a part of its path.
        root: Folder of all runs.
        fill: Writes ``config.yaml``, and what belongs to it, into the folder that it is given.
        path: The run folder itself, where the user chose it.

    Raises:
        RunError: If ``path`` exists and is not empty, or the folder cannot be made.
    """
    run_id = f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    target = path or root / folder_name(name) / run_id
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        msg = (
            f"the run folder {target} exists already. Choose another, or continue that run with: "
            f"imtoolkit runs resume {target}"
        )
        raise RunError(msg)
    draft = target.parent / f".{target.name}.{secrets.token_hex(4)}.new"
    try:
        draft.mkdir(parents=True)
        fill(draft)
        write_json(draft / STATUS, new_status(name, target.name).to_dict())
        if target.exists():
            target.rmdir()  # Windows renames only to where nothing is
        draft.rename(target)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        msg = (
            f"cannot make the run folder {target}: {error.strerror or error}. Check the rights and "
            "the space there, or set tracking.runs (or IMTOOLKIT_RUNS) to another folder"
        )
        raise RunError(msg) from error
    return Run(target)


def folder_name(name: str) -> str:
    """Return a name as it may stand in a path, unable to leave its folder.

    Example:
        >>> folder_name("../my nuclei")
        'my-nuclei'
    """
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "run"


def list_runs(root: Path) -> list[Run]:
    """Return all runs below a folder, oldest first."""
    if not root.is_dir():
        return []
    found = [
        Run(config.parent)
        for pattern in (f"*/{CONFIG}", f"*/*/{CONFIG}")
        for config in root.glob(pattern)
        if not any(part.startswith(".") for part in config.relative_to(root).parts)
    ]
    return sorted(found, key=lambda run: (run.started, run.id))


def find_run(reference: str | Path | Run, root: Path) -> Run:
    """Find a run by its path, a prefix of its id, or ``latest``.

    The random end of the id may stand alone: ``0f3a`` finds ``20260131-142501-0f3a9c``.

    Raises:
        RunError: If none or several match; the message names the nearest.
    """
    if isinstance(reference, Run):
        return reference
    word = str(reference).rstrip("/\\")
    for path in (Path(word).expanduser(), root / word):
        if (path / CONFIG).is_file():
            return Run(path)
    if Path(word).is_dir():
        msg = f"{word} is not a run folder: it holds no {CONFIG}"
        raise RunError(msg)
    runs = list_runs(root)
    if not runs:
        msg = (
            f"no run '{word}': there are no runs in {root.resolve()}. "
            "Start one with: imtoolkit train CONFIG"
        )
        raise RunError(msg)
    if word == "latest":
        return runs[-1]
    hits = [run for run in runs if _matches(run, word)]
    if len(hits) == 1:
        return hits[0]
    if hits:
        ids = listed([run.id for run in hits])
        msg = f"'{word}' fits {len(hits)} runs: {ids}. Give more of the id"
        raise RunError(msg)
    named = [run.id for run in reversed(runs) if run.path.parent.name == word]
    if named:
        msg = (
            f"'{word}' is the name of {len(named)} run(s), and not an id. Give the id, "
            f"newest first: {listed(named, 3)}"
        )
        raise RunError(msg)
    known = [
        part for run in runs for part in (run.id, run.id.rpartition("-")[2], run.path.parent.name)
    ]
    msg = (
        f"no run '{word}' in {root.resolve()}.{did_you_mean(word, known)} "
        "List them with: imtoolkit runs list"
    )
    raise RunError(msg)


def delete_run(run: Run) -> None:
    """Delete a run folder with all that is in it.

    Raises:
        RunError: If the run is running, or its files cannot be deleted.
    """
    if run.status.state is State.RUNNING:
        where = f"process {run.status.pid} on {run.status.host}"
        msg = f"run {run.id} is running ({where}). Stop it first"
        raise RunError(msg)
    doomed = run.path.parent / f".{run.path.name}.deleted"
    try:
        run.path.rename(doomed)  # half a run is never seen
        shutil.rmtree(doomed)
    except OSError as error:
        msg = f"cannot delete {run.path}: {error.strerror or error}"
        raise RunError(msg) from error


def _matches(run: Run, word: str) -> bool:
    return run.id.startswith(word) or run.id.rpartition("-")[2].startswith(word)
