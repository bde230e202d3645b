"""What the benchmark scripts share: the machine, alternating rounds, one JSON object as a result.

Machines are noisy, so a number is always a ratio of two things measured in turn in one run; the
median over the rounds is reported, with the rounds beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / "bench"
PACKAGES = ("torch", "pytorch-lightning", "monai", "numpy", "bioio", "nnunetv2")


def arguments(description: str, *extra: tuple[str, dict[str, Any]]) -> argparse.Namespace:
    """Parse the command line of a benchmark: ``--json`` and what it adds."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    for flag, options in extra:
        parser.add_argument(flag, **options)
    return parser.parse_args()


def alternate(
    ours: Callable[[], float], other: Callable[[], float], rounds: int
) -> tuple[list[float], list[float]]:
    """Measure two things in turn, so that a slow minute of the machine meets both."""
    first, second = [], []
    for _ in range(rounds):
        first.append(ours())
        second.append(other())
    return first, second


def compared(
    name: str, ours: Sequence[float], other: Sequence[float], *, unit: str, peer: str, **more: Any
) -> dict[str, Any]:
    """Return the result of two series: medians, their ratio, all rounds, the machine.

    The ratio is the median of the ratios of neighbouring rounds: what ran side by side.
    """
    ratios = [a / b for a, b in zip(ours, other, strict=True)]
    return {
        "name": name,
        "ours": statistics.median(ours),
        "other": statistics.median(other),
        "ratio": statistics.median(ratios),
        "unit": unit,
        "peer": peer,
        "rounds": {"ours": list(ours), "other": list(other)},
        **more,
        **machine(),
    }


def machine() -> dict[str, Any]:
    """Describe where a number was measured."""
    return {
        "machine": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count(),
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
            "gpu": _gpu(),
        },
        "versions": _versions(),
        "command": " ".join(["python", *sys.argv]),
    }


@contextlib.contextmanager
def stdout_for_results() -> Iterator[None]:
    """Send what a training prints to the error stream: the output holds the result alone."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def show(result: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the result: one JSON object, or lines for a person."""
    if as_json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        if key not in {"rounds", "machine", "versions", "command"}:
            print(f"{key:<12} {value:.4g}" if isinstance(value, float) else f"{key:<12} {value}")


def limit(minutes: float) -> str:
    """Return minutes as Lightning's ``DD:HH:MM:SS``."""
    seconds = round(minutes * 60)
    return f"00:{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def trained(
    config: Path, overrides: Mapping[str, Any], *, split: str = "test", by: str | None = None
) -> dict[str, Any]:
    """Train a config and return its scores on a split, its steps and its run folder.

    Args:
        config: The config.
        overrides: Dotted keys and their values.
        split: Which images are measured.
        by: Column of the scores whose values are averaged apart as well, such as ``dataset``.
    """
    from imtoolkit.core.threads import wait_politely

    wait_politely()  # as the command line does; a loop that is started later inherits it
    import imtoolkit as imt

    with stdout_for_results():
        run = imt.train(imt.load_config(config, overrides))
        scores = imt.evaluate(run, split=split)
    rows, metrics = scores.per_image, scores.summary["metrics"]
    groups = rows.groupby(by).mean(numeric_only=True) if by else None
    return {
        "scores": {name: value["mean"] for name, value in metrics.items()},
        "intervals": {name: [value["low"], value["high"]] for name, value in metrics.items()},
        **({"groups": groups.to_dict("index")} if groups is not None else {}),
        "images": len(rows),
        "steps": int(run.metrics["step"].max()) + 1,
        "run": str(run.path),
    }


def data_root() -> Path:
    """Return the folder of real images, ``IMTOOLKIT_DATA``."""
    root = Path(os.environ.get("IMTOOLKIT_DATA", ROOT.parent / "shared" / "data"))
    if not root.is_dir():
        sys.exit(f"No real images at {root}: set IMTOOLKIT_DATA to the folder that holds them.")
    return root.resolve()


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpu() -> str | None:
    if "torch" not in sys.modules:  # a benchmark of start-up must not import it
        return None
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
