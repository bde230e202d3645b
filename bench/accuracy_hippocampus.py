"""Hippocampus in 3D with imtoolkit: mean Dice of both labels on a fifth of the cases."""

from __future__ import annotations

import statistics

from measure import ROOT, arguments, data_root, limit, machine, show, trained


def main() -> None:
    options = arguments(
        __doc__ or "",
        ("--minutes", {"type": float, "default": 10.0}),
        ("--seed", {"type": int, "default": 0}),
    )
    overrides = {
        "data.source.params.root": str(data_root() / "msd_task04_hippocampus"),
        "trainer.max_time": limit(options.minutes),
        "seed": options.seed,
    }
    ours = trained(ROOT / "bench" / "hippocampus.yaml", overrides)
    labels = ("dice/anterior", "dice/posterior")
    result = {
        "name": "accuracy_hippocampus",
        "ours": statistics.mean(ours["scores"][label] for label in labels),
        "unit": "Dice",
        "minutes": options.minutes,
        **ours,
        **machine(),
    }
    show(result, as_json=options.json)


if __name__ == "__main__":
    main()
