"""``imtoolkit runs``: list, show, compare, resume and delete runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from imtoolkit.core.errors import RunError

from .output import out
from .trust import Trust, trust_run

if TYPE_CHECKING:
    from imtoolkit.runs import Run

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="List, show, compare, resume and delete runs.",
)

Root = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads it at run time
    typer.Option("--runs", help="Folder of all runs; left out, as environment and settings say."),
]
Reference = Annotated[str, typer.Argument(help="Run: path, prefix of its id, or latest.")]


@app.command("list")
def list_(root: Root = None) -> None:
    """List all runs, oldest first."""
    from imtoolkit.runs import list_runs

    place = _root(root)
    rows = [_line(run) for run in list_runs(place)]
    if not rows:
        out().say(f"no runs in {place}. Start one with: imtoolkit train CONFIG")
    else:
        out().table(["name", "id", "status", "epochs", "metric", "best"], rows)
    keys = ("name", "id", "status", "epochs", "metric", "best")
    out().result(root=place, runs=[dict(zip(keys, row, strict=True)) for row in rows])


@app.command("show")
def show(run: Reference, root: Root = None) -> None:
    """Show a run: its state, its metrics, and where everything is."""
    from imtoolkit.runs.show import metric_table

    from .train import run_files, show_evaluations

    found = _find(run, root)
    status = found.status
    out().say(f"{found.name}  {found.id}")
    out().say(f"{status.state.value}{f': {status.reason}' if status.reason else ''}")
    rows = metric_table(found)
    if rows:
        out().table(["metric", "last", "lowest", "highest"], rows)
    show_evaluations(found.evaluations)
    out().say()
    for what, path in run_files(found).items():
        out().say(f"{what}: {path}")
    metrics = {
        row[0]: dict(zip(("last", "lowest", "highest"), row[1:], strict=True)) for row in rows
    }
    out().result(
        path=found.path,
        id=found.id,
        name=found.name,
        status=status.to_dict(),
        metrics=metrics,
        evaluation=found.evaluations,
        checkpoints=found.checkpoints,
    )


@app.command("compare")
def compare(
    runs: Annotated[list[str], typer.Argument(help="Two or more runs.")], root: Root = None
) -> None:
    """Put the configs and the scores of runs beside each other."""
    from imtoolkit.runs.compare import differing_keys, scores_by_run

    if len(runs) < 2:
        message = "give two or more runs to compare"
        raise RunError(message)
    found = [_find(name, root) for name in runs]
    ids = [run.id for run in found]
    keys = differing_keys(found)
    out().table(["key", *ids], [(key, *map(str, values)) for key, values in keys.items()])
    scores = scores_by_run(found)
    out().say()
    out().table(["score", *ids], [(name, *values) for name, values in scores.items()])
    out().result(runs=ids, config=keys, scores=scores)


@app.command("resume", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def resume(context: typer.Context, run: Reference, root: Root = None, trust: Trust = False) -> None:
    """Continue a run where its last saved state stands; keys of the config may follow."""
    from imtoolkit.config.validate import all_keys
    from imtoolkit.core.errors import ConfigError, did_you_mean

    from .train import continue_run

    words = list(context.args)
    strange = [word for word in words[:1] if not word.startswith("--")]
    if strange:
        message = f"did not expect '{strange[0]}'.{did_you_mean(strange[0], all_keys())}"
        raise ConfigError(message)
    folder = str(_find(run, root).path)
    if trust:
        trust_run(folder)
    continue_run(folder, words)


@app.command("delete")
def delete(
    runs: Annotated[list[str], typer.Argument(help="Runs to delete.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    root: Root = None,
) -> None:
    """Delete runs with all that is in their folders."""
    from imtoolkit.runs import delete_run

    found = [_find(name, root) for name in runs]
    for run in found:
        if not yes and not _confirmed(run):
            out().say(f"kept   {run.path}")
            continue
        delete_run(run)
        out().say(f"deleted {run.path}")
    out().result(deleted=[run.path for run in found if not run.path.exists()])


def _confirmed(run: Run) -> bool:
    import sys

    if not sys.stdin.isatty():
        message = f"not deleted: {run.path}. Say --yes where nobody can be asked"
        raise RunError(message)
    size = sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
    return typer.confirm(f"Delete {run.path} ({size / 1e6:.0f} MB)?")


def _find(reference: str, root: Path | None) -> Run:
    from imtoolkit.runs import find_run

    return find_run(reference, _root(root))


def _root(root: Path | None) -> Path:
    from imtoolkit.config.settings import runs_root

    return root if root is not None else runs_root()


def _line(run: Run) -> tuple[Any, ...]:
    from imtoolkit.runs.compare import best_of

    frame = run.metrics
    epochs = int(frame["epoch"].max()) + 1 if "epoch" in frame and len(frame) else 0
    metric, value = best_of(run)
    return (run.name, run.id, run.status.state.value, epochs, metric or "-", value)
