"""Run benchmarks, keep what each found in `bench/results/`, and write `bench/RESULTS.md` of all.

``make bench`` runs those that take minutes. ``--all`` adds the trainings on real images, which take
two hours and need IMTOOLKIT_DATA. Names run only these; the others keep what they found before. A
result that a script printed elsewhere is taken up by ``--add FILE``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from measure import BENCH

QUICK = ("startup", "step", "patches", "augment", "instances", "object_maps", "embedseg")
LONG = (
    "accuracy_dsb2018",
    "accuracy_hippocampus",
    "accuracy_gray_denoise",
    "accuracy_pneumonia",
    "accuracy_w2s",
    "accuracy_watershed",
    "accuracy_embedseg",
    "accuracy_pix2pix",
    "accuracy_cyclegan",
)
SCRIPTS = {
    f"accuracy_{method}": ("accuracy_instances", "--method", method)
    for method in ("watershed", "embedseg")
}
"""Name of a result -> script and its arguments, where the script makes several."""
RESULTS = BENCH / "results"
SKIPPED = {
    *("name", "ours", "other", "ratio", "unit", "peer", "rounds", "machine", "versions"),
    *("measured", "command"),
}


def run(name: str) -> dict[str, Any]:
    """Run one script and return its JSON object, or why there is none."""
    stem, *words = SCRIPTS.get(name, (name,))
    script = BENCH / f"{stem}.py"
    print(f"{' '.join([script.name, *words])} ...", flush=True)
    done = subprocess.run(
        [sys.executable, str(script), *words, "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        return {"name": name, "failed": reason[0] if reason else f"exit code {done.returncode}"}
    return last_object(done.stdout)


def last_object(text: str) -> dict[str, Any]:
    """Return the JSON object in the last line of what a script printed."""
    result: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return result


def keep(result: dict[str, Any]) -> None:
    """Write a result to its file, with the day and without the paths of this machine."""
    day = str(datetime.datetime.now(tz=datetime.UTC).date())
    kept = {**without_paths(result), "measured": result.get("measured", day)}
    if "command" in kept:
        kept["command"] = command(kept)
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(kept, indent=1, sort_keys=True)
    (RESULTS / f"{result['name']}.json").write_text(f"{text}\n", encoding="utf-8")


def without_paths(value: Any) -> Any:
    """Leave out run folders, at any depth."""
    if isinstance(value, dict):
        return {key: without_paths(item) for key, item in value.items() if key != "run"}
    return [without_paths(item) for item in value] if isinstance(value, list) else value


def kept() -> list[dict[str, Any]]:
    """Return all results: those that take minutes first, the others by name."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob("*.json")]
    order = {name: place for place, name in enumerate((*QUICK, *LONG))}
    return sorted(found, key=lambda one: (order.get(one["name"], len(order)), one["name"]))


def page(results: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Measurements",
        "",
        "Made by `make bench` and, on real images, `python bench/run.py --all`. Machines are "
        "noisy: what counts is the ratio of two things that were measured in turn in one run.",
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
    """Return everything else that the script told, a line each, and where and when."""
    rest = {key: value for key, value in result.items() if key not in SKIPPED}
    lines = [f"- {key}: {number(value)}" for key, value in rest.items()]
    about, versions = result.get("machine", {}), result.get("versions", {})
    place = [about[key] for key in ("processor", "gpu", "system") if about.get(key)]
    place += [f"{about['cores']} cores"] if "cores" in about else []
    place += [f"{name} {version}" for name, version in versions.items()]
    return [*lines, f"- measured: {', '.join([result.get('measured', ''), *place])}"]


def command(result: dict[str, Any]) -> str:
    """Return the command as it is typed in the root of a clone, without paths of this machine."""
    words = str(result.get("command", "")).split()
    return " ".join(map(_word, words))


def _word(word: str) -> str:
    if word.endswith(".py"):
        return f"bench/{Path(word).name}"
    return "PATH" if Path(word).is_absolute() else word


def number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return "; ".join(map(number, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {number(item)}" for key, item in value.items())
    return "" if value is None else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="also train on real images")
    parser.add_argument("--add", nargs="+", default=[], metavar="FILE", help="take up results")
    parser.add_argument("names", nargs="*", help="only these, such as: step startup")
    options = parser.parse_args()
    for file in options.add:
        keep(last_object(Path(file).read_text(encoding="utf-8")))
    default = () if options.add else (*QUICK, *(LONG if options.all else ()))
    for name in options.names or default:
        keep(run(name))
    target = BENCH / "RESULTS.md"
    target.write_text(page(kept()), encoding="utf-8")
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
