"""Tuned post-processing on the command line: what finds it, and what does without."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imtoolkit.core.errors import ConfigError, did_you_mean

from .output import out

if TYPE_CHECKING:
    from imtoolkit.runs import Run

Tuned = Annotated[
    bool,
    typer.Option("--tuned/--no-tuned", help="Use post-processing that was tuned, where it was."),
]
"""Option of the commands that use tuned steps."""
TUNABLE = ("postprocess",)


def tune(
    run: Run, what: str, *, metric: str | None, head: str | None, checkpoint: str | None
) -> None:
    """Tune a part of a run on its validation images and show what changed."""
    from imtoolkit.runs.layout import POSTPROCESS
    from imtoolkit.trainer.tuning import tune_postprocess

    if what not in TUNABLE:
        message = (
            f"got --tune {what}; what can be tuned is 'postprocess'.{did_you_mean(what, TUNABLE)}"
        )
        raise ConfigError(message)

    def track(batches: Iterable[Any]) -> Iterable[Any]:
        return out().progress(batches, "predicting", total=len(batches))  # type: ignore[arg-type]

    found = tune_postprocess(run, metric=metric, head=head, checkpoint=checkpoint, track=track)
    rows = [
        (f"{step}.{parameter}", _shown(before), _shown(after))
        for step, parameter, before, after in found.changes
    ]
    rows.append((found.metric, _shown(found.before), _shown(found.after)))
    title = f"tuned on {found.images} validation images, {found.tried} combinations"
    out().table(["", "before", "after"], rows, title)
    if found.better:
        out().wrote("steps", run.path / POSTPROCESS)
        out().say(f"next   imtoolkit evaluate {run.id}")
    else:
        out().say(f"no combination makes {found.metric} better: the steps of the config stay")
    out().result(**{**vars(found), "run": run.path})


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
