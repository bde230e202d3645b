"""A training step of imtoolkit beside the same step in a hand-written PyTorch loop.

Both take their batches from imtoolkit's own data module and train the same net with the same loss,
optimizer and schedule, so that what differs is what a framework adds: hooks, logging, progress,
checkpoints. They take turns, ``--rounds`` times ``--steps`` steps each; a step is the time from one
batch's end to the next's, its median over the round.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from measure import BENCH, ROOT, alternate, arguments, compared, show, stdout_for_results

import imtoolkit as imt
from imtoolkit.core.batch import IMAGE
from imtoolkit.samples import draw
from imtoolkit.tasks import build_task, target_spec

WARM = 5
"""Steps at the start of each round that are not counted: workers start, memory is first touched."""

THREADS = max(1, (os.cpu_count() or 2) - 1)
"""One core is left to the worker that makes the batches, on both sides."""


def median_step(ends: list[float]) -> float:
    steps = [after - before for before, after in itertools.pairwise(ends)]
    return statistics.median(steps[WARM:])


def ours(config: Any, file: Path) -> float:
    """Train as any user does, with a callback that notes the time."""
    imt.train(config)
    return median_step(json.loads(file.read_text(encoding="utf-8")))


def by_hand(config: Any, steps: int) -> float:
    """Train with a plain loop: nothing but what the step needs."""
    torch.set_num_threads(THREADS)
    datamodule = imt.ImageDataModule(config.data, target_spec(config.task), seed=config.seed)
    datamodule.prepare_data()
    datamodule.setup("fit")
    task = build_task(config.task, config.inference, datamodule.facts, config.seed)
    net, loss_function = task.nets["net"].train(), task.losses
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps + 1)
    ends: list[float] = []
    while len(ends) < steps:
        for batch in datamodule.train_dataloader():
            loss, _ = loss_function([net(batch[IMAGE])], batch, len(ends))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            ends.append(time.perf_counter())
            if len(ends) == steps:
                break
    return median_step(ends)


def main() -> None:
    options = arguments(
        __doc__ or "",
        ("--steps", {"type": int, "default": 60}),
        ("--rounds", {"type": int, "default": 5}),
    )
    with tempfile.TemporaryDirectory() as folder, stdout_for_results():
        os.environ["IMTOOLKIT_SETTINGS"] = str(Path(folder) / "settings.yaml")
        times = Path(folder) / "times.json"
        images = draw("nuclei", Path(folder) / "nuclei", count=40)
        overrides = {
            "data.source.params.root": str(images),
            "data.cache.root": str(Path(folder) / "cache"),
            "data.split.test": 0.0,
            "tracking.runs": str(Path(folder) / "runs"),
            "trainer.max_epochs": 100,
            "trainer.max_steps": options.steps,
            "trainer.accelerator": "cpu",
            "trainer.precision": "32-true",
            "trainer.threads": THREADS,
            "data.loader.workers": 1,
            "evaluation.splits": [],
            "plugins": [str(BENCH / "stopwatch.py")],
            "callbacks": [{"name": "Stopwatch", "params": {"file": str(times)}}],
        }
        preset = ROOT / "configs" / "segmentation" / "nuclei_2d.yaml"
        config = imt.load_config(preset, overrides, trust=True)
        first, second = alternate(
            lambda: ours(config, times),
            lambda: by_hand(config, options.steps),
            options.rounds,
        )
    peer = "the same step in a hand-written PyTorch loop"
    result = compared("step", first, second, unit="s a step", peer=peer, steps=options.steps)
    show(result, as_json=options.json)


if __name__ == "__main__":
    main()
