"""``python -m imtoolkit.trainer.worker RUN``: one process of a run of several.

Lightning starts the other processes by the same command. The parent, `launch.run_processes`,
reports how it ended; this program writes it into ``status.json``.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from pathlib import Path

from imtoolkit.core.errors import ImtoolkitError, RunInterruptedError
from imtoolkit.runs import Run


def main() -> int:
    """Work on a run and return the exit code."""
    parser = argparse.ArgumentParser(prog="imtoolkit.trainer.worker")
    parser.add_argument("run", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args()

    from imtoolkit.trainer.launch import own_rank
    from imtoolkit.trainer.machine import choose_machine
    from imtoolkit.trainer.train import work

    rank = own_rank()
    run = Run(options.run)
    try:
        machine = choose_machine(run.config)
        work(run, run.config, machine, resume=options.resume, quiet=options.quiet or rank > 0)
    except RunInterruptedError as error:
        # Lightning kills the first process where another one ends with an error
        return error.exit_code if rank == 0 else 0
    except ImtoolkitError as error:
        return error.exit_code
    except Exception:  # noqa: BLE001 - the parent tells the reason; the place is for those who ask
        if os.environ.get("IMTOOLKIT_TRACEBACK"):
            traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
