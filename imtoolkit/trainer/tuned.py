"""Steps of post-processing that were tuned for a run: the file that keeps them, and their use."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from imtoolkit.config.sections import Component, Config, MultitaskConfig
from imtoolkit.core.errors import RunError
from imtoolkit.core.files import write_json
from imtoolkit.runs import Run
from imtoolkit.runs.layout import POSTPROCESS

log = logging.getLogger(__name__)

Steps = dict[str, list[Component]]
KEY: Final = "steps"
ONLY: Final = ""
"""Head of a net with one output."""


def with_tuned(run: Run, config: Config, *, use: bool = True) -> Config:
    """Return the config of a run with the steps that were tuned for it, where there are some.

    Args:
        run: The run.
        config: Its config.
        use: Whether to take them; otherwise the config is returned as it is.

    Raises:
        RunError: If the file that keeps them is damaged.
    """
    steps = read_steps(run) if use else {}
    if not steps:
        return config
    log.info(
        "post-processing as tuned on the validation images (%s); --no-tuned does without",
        POSTPROCESS,
    )
    return with_steps(config, steps)


def with_steps(config: Config, steps: Mapping[str, Sequence[Component]]) -> Config:
    """Return a config whose outputs have these steps, by head."""
    task, inference = config.task, config.inference
    if ONLY in steps:
        inference = replace(inference, postprocess=list(steps[ONLY]))
    elif isinstance(task, MultitaskConfig):
        heads = {
            name: replace(head, postprocess=list(steps[name])) if name in steps else head
            for name, head in task.heads.items()
        }
        task = replace(task, heads=heads)
    return replace(config, task=task, inference=inference)


def read_steps(run: Run) -> Steps:
    """Return the tuned steps of a run by head; empty where none were tuned.

    Raises:
        RunError: If the file is damaged.
    """
    path = run.path / POSTPROCESS
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {head: [_component(one) for one in own] for head, own in kept[KEY].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = (
            f"{path} cannot be read ({error}). Tune again with: imtoolkit evaluate {run.path} "
            "--tune postprocess, or delete the file"
        )
        raise RunError(message) from error


def write_steps(run: Run, steps: Mapping[str, Sequence[Component]], record: dict[str, Any]) -> None:
    """Keep tuned steps in the run folder, and how they were found; earlier findings stay beside.

    Args:
        run: The run.
        steps: Steps by head.
        record: Metric, value before and after, images, and whatever else tells where it is from.
    """
    path = run.path / POSTPROCESS
    try:
        others = read_steps(run)
    except RunError:  # what cannot be read is replaced
        others = {}
    try:
        earlier = json.loads(path.read_text(encoding="utf-8")).get("history", [])
    except (OSError, ValueError, AttributeError):
        earlier = []
    plain = {
        head: [{"name": step.name, "params": dict(step.params)} for step in own]
        for head, own in {**others, **steps}.items()
    }
    write_json(path, {KEY: plain, "history": [*earlier, {**record, KEY: plain}]})


def _component(one: Mapping[str, Any]) -> Component:
    name, params = one["name"], one.get("params", {})
    if not isinstance(name, str) or not isinstance(params, dict):
        message = f"a step has a name and params, got {one}"
        raise TypeError(message)
    return Component(name, params)
