"""Runs beside each other: where their configs differ, and how they scored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from imtoolkit.runs.layout import CONFIG, best_name
from imtoolkit.runs.run import Run

_LESS_IS_BETTER: Final = re.compile(
    r"loss|/hd\d|error|distance|[/_](?:mae|rmse|ged|brier|ece|object_count)(?:/|$)"
)


def differing_keys(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Return the dotted keys whose values differ, with the value of each run."""
    flat = [_flat(_raw(run)) for run in runs]
    keys = dict.fromkeys(key for table in flat for key in table)
    values = {key: [table.get(key) for table in flat] for key in keys}
    return {key: row for key, row in values.items() if any(item != row[0] for item in row)}


def scores_by_run(runs: Sequence[Run]) -> dict[str, list[float | None]]:
    """Return the mean of each metric of each evaluated split, for each run."""
    tables = []
    for run in runs:
        table = {
            f"{split}/{name}": entry["mean"]
            for split, summary in run.evaluations.items()
            for name, entry in summary["metrics"].items()
        }
        tables.append(table)
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: [table.get(name) for table in tables] for name in names}


def best_of(run: Run) -> tuple[str | None, float | None]:
    """Return the metric that chose the best state of a run, and its best value so far.

    It is the one that the config monitors, or of which a best state is kept; a run that has none
    yet shows the first of its table.
    """
    frame = run.metrics
    monitor = ((_raw(run).get("trainer") or {}).get("checkpoint") or {}).get("monitor") or []
    names = [name for name in frame.columns if name.startswith("val/") and name != "val/loss"]
    kept = [name for name in frame.columns if Path(best_name(name)).stem in run.checkpoints]
    name = next((item for item in [*monitor, *kept, *names, "val/loss"] if item in frame), None)
    if name is None or frame[name].dropna().empty:
        return None, None
    falls = _LESS_IS_BETTER.search(name)
    return name, float(frame[name].min() if falls else frame[name].max())


def _raw(run: Run) -> dict[str, Any]:
    try:
        raw = yaml.safe_load((run.path / CONFIG).read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError):
        return {}  # one damaged run must not hide the others from a list
    return raw if isinstance(raw, dict) else {}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= _flat(item, f"{prefix}.{key}" if prefix else str(key))
    return found
