"""The weights of a kept state, put into a task."""

from __future__ import annotations

import logging

from imtoolkit.callbacks.checkpoint_io import load_checkpoint
from imtoolkit.callbacks.schedules import KEY
from imtoolkit.runs import Run
from imtoolkit.runs.layout import BEST
from imtoolkit.tasks.base import Task
from imtoolkit.tasks.numbers import setter_of

log = logging.getLogger(__name__)


def load_state(task: Task, run: Run, checkpoint: str) -> str:
    """Load the weights of a kept state into a task and return its name.

    Where nothing was monitored, because there were no validation images, ``best`` means the last.
    """
    if checkpoint == "best" and BEST.removesuffix(".ckpt") not in run.checkpoints:
        checkpoint = "last"
        log.warning(
            "no best state was kept, since nothing was validated or the watched metric was never "
            "defined: using the last"
        )
    kept = load_checkpoint(run.checkpoint(checkpoint))
    task.load_state_dict(kept["state_dict"])
    for key, number in kept.get(KEY, {}).items():
        if not key.startswith("data."):
            setter_of(task, key)(number)
    return checkpoint
