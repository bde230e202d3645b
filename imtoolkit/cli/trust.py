"""``--trust`` of the commands that work on a run: its plugins may be code of someone else."""

from __future__ import annotations

from typing import Annotated

import typer

Trust = Annotated[
    bool, typer.Option("--trust", help="Let the code that came with the run be run; remembered.")
]


def trust_run(reference: str) -> None:
    """Remember that the user trusts the plugins of a run, as they are now."""
    from imtoolkit.config import load_run_config
    from imtoolkit.config.settings import runs_root
    from imtoolkit.runs import find_run

    load_run_config(find_run(reference, runs_root()).path, trust=True)
