"""Fluorescent nuclei with imtoolkit and with a hand-written loop: same net, patches and minutes.

Both train for ``--minutes`` of wall time, one after the other in processes of their own, and are
tested on the same images; ``ours`` and ``other`` are the mean Dice over these. imtoolkit's
minutes include its validation, checkpoints and bookkeeping.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from measure import ROOT, arguments, data_root, limit, machine, show, trained


def loop(minutes: float, seed: int) -> dict[str, Any]:
    """Run the hand-written loop and return what it prints."""
    script = str(Path(__file__).with_name("loop_dsb2018.py"))
    options = ["--minutes", str(minutes), "--seed", str(seed), "--json"]
    done = subprocess.run(
        [sys.executable, script, *options], check=True, stdout=subprocess.PIPE, text=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    options = arguments(
        __doc__ or "",
        ("--minutes", {"type": float, "default": 5.0}),
        ("--seed", {"type": int, "default": 0}),
    )
    root = data_root() / "dsb2018_fluo"
    overrides = {
        "data.sources.main.source.params.root": str(root / "train"),
        "data.sources.test.source.params.root": str(root / "test"),
        "trainer.max_time": limit(options.minutes),
        "seed": options.seed,
    }
    ours = trained(ROOT / "bench" / "dsb2018.yaml", overrides)
    other = loop(options.minutes, options.seed)
    result = {
        "name": "accuracy_dsb2018",
        "ours": ours["scores"]["dice/nucleus"],
        "other": other["dice"],
        "difference": ours["scores"]["dice/nucleus"] - other["dice"],
        "unit": "Dice",
        "peer": "hand-written MONAI loop (bench/loop_dsb2018.py)",
        "minutes": options.minutes,
        **ours,
        "other_steps": other["steps"],
        **machine(),
    }
    show(result, as_json=options.json)


if __name__ == "__main__":
    main()
