"""``imtoolkit train``: train a model as a config says, or continue a run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from imtoolkit.core.errors import ConfigError

from .output import out, overrides
from .trust import trust_run

if TYPE_CHECKING:
    from imtoolkit.runs import Run

DEBUG_HELP = (
    "fast (two batches of everything), overfit (learn two batches by heart), limit (two short "
    "epochs), profile (where the time goes)"
)


def train(
    config: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time
        typer.Argument(help="A YAML file, or the name of a preset."),
    ] = None,
    resume: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--resume", help="Continue this run: path, prefix of its id, or latest."),
    ] = None,
    folder: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--folder", help="The run folder to make; left out, a new one below runs/."),
    ] = None,
    debug: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--debug", help=DEBUG_HELP),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Let the modules under 'plugins:' run; remembered.")
    ] = False,
) -> None:
    """Train a model as a config says, evaluate it, and print where everything is."""
    if (config is None) == (resume is None):
        message = "give either a config to train, or --resume RUN"
        raise ConfigError(message)
    if resume is not None:
        if trust:
            trust_run(resume)
        continue_run(resume, overrides())
        return
    assert config is not None
    if os.environ.get("RANK", "0") != "0":
        out().quiet = True  # torchrun started several of us: one talks
    _new_run(config, folder, debug, trust=trust)


def _new_run(config: str, folder: str | None, debug: str | None, *, trust: bool) -> None:
    from imtoolkit.config import load_config

    words = overrides()
    if debug is not None:
        from imtoolkit.trainer.debug import debug_overrides

        words = [*_as_words(debug_overrides(debug)), *words]
    loaded = load_config(config, words, trust=trust)
    out().read("config", config)
    from imtoolkit.trainer.train import train as train_model

    with resume_hint():
        done = train_model(loaded, path=folder, quiet=not out().talks)
    show_run(done)


def continue_run(reference: str, words: list[str]) -> None:
    """Continue a run and show what came of it."""
    from imtoolkit.trainer.resume import resume as resume_run

    with resume_hint():
        done = resume_run(reference, words, quiet=not out().talks)
    show_run(done)


@contextlib.contextmanager
def resume_hint() -> Iterator[None]:
    """Print how to continue, where a run failed and left a state behind."""
    try:
        yield
    except Exception as error:
        for note in getattr(error, "__notes__", ()):
            out().warn(note)
        raise


def show_run(run: Run) -> None:
    """Print the scores of a finished run, and where everything is."""
    evaluations = run.evaluations
    show_evaluations(evaluations)
    out().say()
    for what, path in run_files(run).items():
        out().wrote(what, path)
    out().result(
        run=run.path,
        id=run.id,
        status=run.status.state.value,
        checkpoints=run.checkpoints,
        evaluation=evaluations,
    )


def show_evaluations(evaluations: dict[str, dict[str, Any]]) -> None:
    """Print the tables of all splits that were evaluated."""
    for split, summary in evaluations.items():
        title = f"\n{split}: {summary['images']} images, {summary['checkpoint']} state"
        show_summary(summary, title)


def show_summary(summary: dict[str, Any], title: str) -> None:
    """Print the table of an evaluation."""
    from imtoolkit.runs.show import told_apart

    level, metrics = f"{summary['confidence']:.0%}", summary["metrics"]
    rows = [
        (name, *(metrics[name][key] for key in ("mean", "low", "high", "images")))
        for name in told_apart(metrics)
    ]
    out().table(["metric", "mean", f"{level} low", f"{level} high", "images"], rows, title)


def found_run(reference: str) -> Run:
    """Find a run and tell which it is, and that there is more to come where it still trains."""
    from imtoolkit.config.settings import runs_root
    from imtoolkit.runs import State, find_run

    run = find_run(reference, runs_root())
    out().read("run", run.path)
    if run.status.state is State.RUNNING:
        out().warn("this run is still training: its weights are those of the last saved state")
    return run


def run_files(run: Run) -> dict[str, Path]:
    """Return what a user looks for in a run, as far as it is there."""
    found = {"run": run.path}
    best = next((name for name in ("best", "last") if name in run.checkpoints), None)
    if best is not None:
        found["model"] = run.checkpoint(best)
    if run.pictures:
        found["pictures"] = run.pictures[-1].parent
    for profile in sorted(run.path.glob("fit-profile*.txt")):
        found["profile"] = profile
    for picture in sorted(run.path.glob("evaluation/*/examples.png")):
        found[f"examples ({picture.parent.name})"] = picture
    return found


def _as_words(values: dict[str, Any]) -> list[str]:
    import json

    return [word for key, value in values.items() for word in (f"--{key}", json.dumps(value))]
