"""Steps of post-processing that were tuned for a run: the file that keeps them, and their use."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from imtoolkit.config import load_run_config
from imtoolkit.config.sections import Component, Config
from imtoolkit.core.errors import ConfigError, RunError
from imtoolkit.core.files import write_json
from imtoolkit.runs import Run
from imtoolkit.runs.layout import POSTPROCESS

log = logging.getLogger(__name__)

Steps = dict[str, list[Component]]
KEY: Final = "steps"


def config_of(run: Run, *, tuned: bool = True) -> Config:
    """Return the config of a run, with the steps that were tuned for it where there are some.

    Tuned steps go through the same checks as those of a config.

    Args:
        run: The run.
        tuned: Whether to take tuned steps; otherwise the config is returned as it is.

    Raises:
        ConfigError: If the config is wrong.
        RunError: If the file of the tuned steps is damaged or does not fit the config.
    """
    steps = read_steps(run) if tuned else {}
    config = load_run_config(run.path)
    if not steps:
        return config
    overrides = {
        f"task.heads.{head}.postprocess" if head else "inference.postprocess": _plain(own)
        for head, own in steps.items()
    }
    try:
        config = load_run_config(run.path, overrides)
    except ConfigError as error:
        raise RunError(_damaged(run, str(error))) from error
    log.info(
        "post-processing as tuned on the validation images (%s); --no-tuned does without",
        POSTPROCESS,
    )
    return config


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
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(_damaged(run, str(error))) from error


def write_steps(run: Run, steps: Mapping[str, Sequence[Component]], record: dict[str, Any]) -> None:
    """Keep tuned steps in the run folder, and how they were found; earlier findings stay beside.

    Args:
        run: The run.
        steps: Steps by head.
        record: Metric, value before and after, images, and whatever else tells where it is from.
    """
    path = run.path / POSTPROCESS
    try:
        others = {head: own for head, own in read_steps(run).items() if head and "" not in steps}
    except RunError:  # what cannot be read is replaced
        others = {}
    try:
        earlier = list(json.loads(path.read_text(encoding="utf-8")).get("history", []))
    except (OSError, ValueError, AttributeError, RecursionError, TypeError):
        earlier = []
    plain = {head: _plain(own) for head, own in {**others, **steps}.items()}
    write_json(path, {KEY: plain, "history": [*earlier, {**record, KEY: plain}]})


def _plain(steps: Sequence[Component]) -> list[dict[str, Any]]:
    return [{"name": step.name, "params": dict(step.params)} for step in steps]


def _damaged(run: Run, why: str) -> str:
    return (
        f"{run.path / POSTPROCESS} cannot be used: {why}. Tune again with: imtoolkit evaluate "
        f"{run.path} --tune postprocess, or delete the file"
    )


def _component(one: Mapping[str, Any]) -> Component:
    name, params = one["name"], one.get("params", {})
    if not isinstance(name, str) or not isinstance(params, dict):
        message = f"a step has a name and params, got {one}"
        raise TypeError(message)
    return Component(name, params)
