"""A callback that notes when each training batch ends; `bench/step.py` names it as a plugin."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl


class Stopwatch(pl.Callback):
    """Writes the end times of all training batches to a JSON file when training ends.

    Args:
        file: Where they go.
    """

    def __init__(self, file: str) -> None:
        self.file = Path(file)
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())

    def on_train_end(self, *_: Any) -> None:
        """Write the times."""
        self.file.write_text(json.dumps(self.ends), encoding="utf-8")
