"""Resume: continue a run where its last saved state stands."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imtoolkit.config import load_run_config, to_yaml
from imtoolkit.config import plugins as plugin_modules
from imtoolkit.config.sections import Config
from imtoolkit.config.settings import runs_root
from imtoolkit.core.errors import RunError
from imtoolkit.core.files import write_text
from imtoolkit.runs import Run, State, find_run
from imtoolkit.runs.layout import CONFIG
from imtoolkit.trainer import launch
from imtoolkit.trainer.machine import choose_machine
from imtoolkit.trainer.train import carry_out

log = logging.getLogger(__name__)


def resume(
    run: Run | str | Path,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    *,
    quiet: bool = False,
) -> Run:
    """Continue a run that was interrupted or failed, or a finished one with more epochs.

    On a CPU with the same number of threads, the weights in the end are bit for bit those of a run
    that was never interrupted.

    Args:
        run: The run, its path, a prefix of its id, or ``latest``.
        overrides: What changes from here on, such as ``{"trainer.max_epochs": 20}``. The config of
            the run is written anew; the one before is kept beside it.
        quiet: Show no progress.

    Returns:
        The finished run.

    Raises:
        RunError: If the run is running, or its last state cannot be read.
    """
    found = find_run(run, runs_root())
    config = launch.as_launched(load_run_config(found.path, overrides))
    machine = choose_machine(config)

    def claim() -> None:
        status = found.status
        if status.state is State.RUNNING:
            where = f"process {status.pid} on {status.host}"
            msg = f"run {found.id} is running ({where}); two processes would spoil it"
            raise RunError(msg)
        if status.state is State.FINISHED and not overrides:
            log.info("the run had finished. To train it longer, add --trainer.max_epochs N")
        if overrides:
            rewrite_config(found, config)

    launch.shared(claim, machine) if launch.is_launched() else claim()
    return carry_out(Run(found.path), config, machine, resume=True, quiet=quiet)


def rewrite_config(run: Run, config: Config) -> None:
    """Write a changed config into a run; the one before is kept as ``config-1.yaml``, ..."""
    place = run.path / CONFIG
    number = 1 + len(list(run.path.glob("config-*.yaml")))
    write_text(run.path / f"config-{number}.yaml", place.read_text(encoding="utf-8"))
    write_text(place, to_yaml(config, relative_to=run.path))
    plugin_modules.trust(config.plugins, place)
