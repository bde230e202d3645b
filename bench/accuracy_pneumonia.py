"""Pneumonia in chest X-rays of 28x28 pixels: three trainings of a ResNet-18, with intervals.

Trained on train and measured on val; with ``--test FILE`` (an npz with ``test_images`` and
``test_labels``) on the official test images as well. Published for ResNet-18 there: AUC 0.944,
accuracy 0.854 (MedMNIST v2).
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from measure import ROOT, arguments, data_root, machine, show, trained

NAMES = ("auroc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "brier", "ece")


def tested(run: str, path: str) -> dict[str, float]:
    """Measure a run on the test images of an npz file."""
    import imtoolkit as imt

    source = {"name": "npz", "params": {"path": path}}
    found = imt.evaluate(Path(run), split="official", source=source).summary["metrics"]
    return {name: found[name]["mean"] for name in NAMES}


def main() -> None:
    options = arguments(
        __doc__ or "",
        ("--seeds", {"type": int, "default": 3}),
        ("--epochs", {"type": int, "default": 12}),
        ("--test", {"default": None, "help": "npz file with the official test images"}),
    )
    path = data_root() / "pneumoniamnist" / "pneumoniamnist_train_val.npz"
    runs: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        overrides = {
            "data.source.params.path": str(path),
            "trainer.max_epochs": options.epochs,
            "seed": seed,
        }
        made = trained(ROOT / "bench" / "pneumonia.yaml", overrides, split="val")
        made = {key: made[key] for key in ("scores", "intervals", "images", "steps", "run")}
        if options.test:
            made["test"] = tested(made["run"], options.test)
        runs.append(made)
    key = "test" if options.test else "scores"
    result = {
        "name": "accuracy_pneumonia",
        "ours": statistics.mean(run[key]["auroc"] for run in runs),
        "accuracy": statistics.mean(run[key]["accuracy"] for run in runs),
        "unit": f"AUROC on {'test' if options.test else 'val'}",
        "trainings": runs,
        **machine(),
    }
    show(result, as_json=options.json)


if __name__ == "__main__":
    main()
