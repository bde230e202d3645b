"""``imtoolkit check``: finds the mistakes before training does."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import Annotated, Any

import typer

from .output import out, overrides


def check(
    config: Annotated[str, typer.Argument(help="A YAML file, or the name of a preset.")],
    static: Annotated[
        bool, typer.Option("--static", help="Only read the config; build nothing, open no image.")
    ] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Trust the modules under 'plugins:' and remember it.")
    ] = False,
) -> None:
    """Check a config: every mistake at once, then one real batch through data, net and loss."""
    from imtoolkit.config.loading import load_config
    from imtoolkit.config.presets import find_config

    output = out()
    loaded = load_config(config, overrides(), trust=trust)
    output.read("config", find_config(config))
    output.say("the config is sound: keys, types, names and parameters")
    output.result(config=config, static=True)
    if static:
        return
    from imtoolkit.trainer.check import check_run

    report = check_run(loaded)
    output.result(static=False, **_plain(report))
    output.say(str(report))


def _plain(report: Any) -> dict[str, Any]:
    if hasattr(report, "to_dict"):
        return dict(report.to_dict())
    return asdict(report) if is_dataclass(report) and not isinstance(report, type) else {}
