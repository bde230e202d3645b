"""The command line as a user meets it, on a few tiny drawn cells: for tests of what goes wrong."""

from __future__ import annotations

import copy
import hashlib
import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import yaml

from imtoolkit.cli.main import main

CONFIG: dict[str, Any] = {
    "name": "cells",
    "data": {
        "source": {
            "name": "folder",
            "params": {"root": "data", "image": "images/*.tif", "target": "labels/*.tif"},
        },
        "axes": "YX",
        "split": {"val": 1, "test": 1},
        "patch": {"size": [32, 32]},
        "preprocess": ["normalize_percentiles"],
        "loader": {"batch_size": 2, "workers": 0},
    },
    "task": {
        "category": "segmentation",
        "classes": ["background", "cell"],
        "net": {"name": "UNet", "params": {"channels": [4, 8], "strides": [2]}},
        "loss": "dice_ce",
        "optimizer": {"name": "AdamW", "params": {"lr": 1e-3}},
    },
    "trainer": {"max_epochs": 1, "accelerator": "cpu", "pictures": {"every_epochs": 0, "count": 1}},
    "evaluation": {"resamples": 10},
}
COUNT = 4


@dataclass(frozen=True)
class Done:
    """What a command returned and printed."""

    code: int
    out: str
    err: str

    def refuses(self, *words: str, code: int = 2) -> None:
        """Check that it failed with one clear message that holds all of these words."""
        assert self.code == code, f"exit code {self.code}\n{self.out}\n{self.err}"
        assert "Traceback" not in self.out + self.err
        assert "not expected" not in self.err
        for word in words:
            assert word in self.err, f"'{word}' is not in:\n{self.err}"
        said = [line.partition("error: ")[2] or line for line in self.err.splitlines() if line]
        assert len(said) == len(set(said)), f"said twice:\n{self.err}"


class Place:
    """A folder with ``data/images`` and ``data/labels``, where a user writes configs and runs us.

    Args:
        folder: An empty folder, the working directory of the test.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images, self.labels = folder / "data" / "images", folder / "data" / "labels"
        self.images.mkdir(parents=True)
        self.labels.mkdir()
        for number in range(COUNT):
            image, labels = cell(number)
            self.image(number, image)
            self.label(number, labels)

    def image(self, number: int, pixels: Any, **how: Any) -> Path:
        path = self.images / f"c{number}.tif"
        tifffile.imwrite(path, pixels, **how)
        return path

    def label(self, number: int, pixels: Any) -> Path:
        path = self.labels / f"c{number}.tif"
        tifffile.imwrite(path, pixels)
        return path

    def config(self, changes: dict[str, Any] | None = None, name: str = "cells.yaml") -> Path:
        """Write the config with dotted keys changed; ``None`` takes a key out."""
        raw = copy.deepcopy(CONFIG)
        for key, value in (changes or {}).items():
            *parents, last = key.split(".")
            section = raw
            for parent in parents:
                section = section.setdefault(parent, {})
            if value is None:
                section.pop(last, None)
            else:
                section[last] = value
        return self.text(yaml.safe_dump(raw, sort_keys=False), name)

    def text(self, text: str | bytes, name: str = "cells.yaml") -> Path:
        path = self.folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def command(self, *words: str | Path) -> Done:
        """Run imtoolkit in this process, and check that no image or label has changed."""
        before = fingerprint(self.folder / "data")
        done = command(*words)
        assert fingerprint(self.folder / "data") == before
        return done

    def train(self, changes: dict[str, Any] | None = None, *words: str) -> Done:
        """Train with a changed config."""
        return self.command("train", self.config(changes).name, *words)

    def runs(self) -> list[Path]:
        """Return everything that lies in the folder of all runs."""
        return sorted((self.folder / "runs").glob("*/*"))


def command(*words: str | Path) -> Done:
    """Run imtoolkit in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(word) for word in words])
    return Done(code, out.getvalue(), err.getvalue())


def cell(number: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Return an image with one bright disc, and its labels."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:size, :size]
    centre = rng.integers(10, size - 10, 2)
    disc = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 36
    return rng.poisson(200 + 800 * disc).astype(np.uint16), disc.astype(np.uint8)


def fingerprint(folder: Path) -> dict[str, str]:
    """Return the hash of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
