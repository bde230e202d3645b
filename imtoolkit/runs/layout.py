"""The names of the files in a run folder, in one place."""

from __future__ import annotations

from typing import Final

CONFIG: Final = "config.yaml"
"""What the user asked for; written before anything is built."""
RESOLVED: Final = "resolved.json"
"""What the data and the machine filled in."""
PROVENANCE: Final = "provenance.json"
"""Commit, packages, host, command line, fingerprint of the data."""
STATUS: Final = "status.json"
"""State of the run and the process that works on it."""
SPLITS: Final = "splits.csv"
"""Which image went to which split."""
METRICS: Final = "metrics.csv"
"""All logged values, a row for each logged step."""
POSTPROCESS: Final = "postprocess.json"
"""Steps of post-processing that were tuned after training, and how they were found."""
LOG: Final = "log.txt"
"""What the run said."""
CHECKPOINTS: Final = "checkpoints"
EVALUATION: Final = "evaluation"
PREDICTIONS: Final = "predictions"
PICTURES: Final = "pictures"
PLUGINS: Final = "plugins"
LAST: Final = "last.ckpt"
BEST: Final = "best.ckpt"


def best_name(metric: str) -> str:
    """Return the file name of the best state of a metric.

    Example:
        >>> best_name("val/dice")
        'best-val-dice.ckpt'
    """
    return f"best-{metric.replace('/', '-')}.ckpt"
