"""Run the benchmarks and write `bench/RESULTS.md`, with the machine, the versions and each command.

``make bench`` runs those that take minutes. ``--all`` adds the trainings on real images, which take
half an hour and need IMTOOLKIT_DATA. A benchmark that cannot run here is listed with its reason.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from measure import BENCH, machine

QUICK = ("startup", "step", "patches", "augment")
LONG = ("accuracy_dsb2018", "accuracy_hippocampus")
SKIPPED = {"name", "ours", "other", "ratio", "unit", "peer", "rounds", "machine", "versions"}


def run(name: str) -> dict[str, Any]:
    """Run one script and return its JSON object, or why there is none."""
    script = BENCH / f"{name}.py"
    print(f"{script.name} ...", flush=True)
    done = subprocess.run(
        [sys.executable, str(script), "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        return {"name": name, "failed": reason[0] if reason else f"exit code {done.returncode}"}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def page(results: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    here = machine()
    about = here["machine"]
    lines = [
        "# Measurements",
        "",
        f"{datetime.datetime.now(tz=datetime.UTC).date()}, {about['processor']}, "
        f"{about['cores']} cores, {about['system']}, Python {about['python']}; "
        + ", ".join(f"{name} {version}" for name, version in here["versions"].items()),
        "",
        "Made by `make bench`. Machines are noisy: what counts is the ratio of two things that "
        "were measured in turn in one run.",
        "",
        "| benchmark | ours | other | ours / other | unit | beside | command |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [row(result) for result in results]
    for result in results:
        lines += ["", f"## {result['name']}", "", *details(result)]
    return "\n".join(lines) + "\n"


def row(result: dict[str, Any]) -> str:
    if "failed" in result:
        return f"| {result['name']} | not measured: {result['failed']} | | | | | |"
    numbers = [number(result.get(key)) for key in ("ours", "other", "ratio")]
    cells = [result["name"], *numbers, result.get("unit", ""), result.get("peer", "")]
    return f"| {' | '.join(cells)} | `{command(result)}` |"


def details(result: dict[str, Any]) -> list[str]:
    """Return everything else that the script told, a line each."""
    rest = {key: value for key, value in result.items() if key not in SKIPPED | {"command", "run"}}
    return [f"- {key}: {number(value)}" for key, value in rest.items()] or ["Nothing more."]


def command(result: dict[str, Any]) -> str:
    words = str(result.get("command", "")).split()
    return " ".join(f"bench/{Path(word).name}" if word.endswith(".py") else word for word in words)


def number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {number(item)}" for key, item in value.items())
    return "" if value is None else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="also train on real images")
    parser.add_argument("names", nargs="*", help="only these, such as: step startup")
    options = parser.parse_args()
    names = options.names or [*QUICK, *(LONG if options.all else ())]
    results = [run(name) for name in names]
    target = BENCH / "RESULTS.md"
    target.write_text(page(results), encoding="utf-8")
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
