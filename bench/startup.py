"""How long the command line takes to answer, beside a Python that imports torch.

Things a user waits for: the help, the verdict on a wrong config, an explanation. Each is a whole
process; ``other`` is ``python -c "import torch"``, what any tool that imports torch pays. The index
of components is built before (once for each set of package versions).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import ROOT, arguments, machine, show

PRESET = ROOT / "configs" / "segmentation" / "nuclei_2d.yaml"


def seconds(command: list[str], expected: int) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.perf_counter() - start
    if done.returncode != expected:
        sys.exit(f"{' '.join(command)} returned {done.returncode}:\n{done.stdout}{done.stderr}")
    return took


def main() -> None:
    options = arguments(__doc__ or "", ("--rounds", {"type": int, "default": 7}))
    imtoolkit = [str(Path(sys.executable).with_name("imtoolkit"))]
    with tempfile.TemporaryDirectory() as folder:
        wrong = Path(folder) / "wrong.yaml"
        wrong.write_text(PRESET.read_text(encoding="utf-8") + "\ntrianer: {max_epochs: 1}\n")
        commands = {
            "help": ([*imtoolkit, "--help"], 0),
            "wrong_config": ([*imtoolkit, "train", str(wrong)], 2),
            "explain": ([*imtoolkit, "explain", "data.patch"], 0),
            "python_alone": ([sys.executable, "-c", "pass"], 0),
            "import_torch": ([sys.executable, "-c", "import torch"], 0),
        }
        for command, expected in commands.values():  # files of the page cache, and the index
            seconds(command, expected)
        rounds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, (command, expected) in commands.items():
                rounds[name].append(seconds(command, expected))
    median = {name: statistics.median(times) for name, times in rounds.items()}
    result = {
        "name": "startup",
        "ours": median["help"],
        "other": median["import_torch"],
        "ratio": median["help"] / median["import_torch"],
        "unit": "s",
        "peer": "python -c 'import torch'",
        **{f"{name}_s": value for name, value in median.items()},
        "rounds": rounds,
        **machine(),
    }
    show(result, as_json=options.json)


if __name__ == "__main__":
    main()
