"""The examples of one's own loss, task and format do what their README says, line by line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imtoolkit as imt
from tests.helpers.snippets import snippets
from tests.test_docs import make_trainings_short
from tests.test_docs import run as run_snippet

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("your_own_*"))


@pytest.fixture
def follow(
    workdir: Path, drawn: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], imt.Run]:
    """Return ``follow(name)``: run all that a README shows, and return the run it made."""
    for folder in ("configs", "examples"):
        shutil.copytree(ROOT / folder, workdir / folder)
    shutil.copytree(drawn("nuclei", count=10), workdir / "data" / "nuclei")
    make_trainings_short(monkeypatch)
    monkeypatch.syspath_prepend(str(workdir / "examples" / "your_own_format"))

    def follow(name: str) -> imt.Run:
        page = workdir / "examples" / name / "README.md"
        namespace: dict[str, Any] = {"__name__": name}
        for snippet in snippets(page):
            run_snippet(snippet, page, namespace, monkeypatch)
        return imt.open_run("latest")

    return follow


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_a_folder_of_three_files(name: str) -> None:
    found = {path.name for path in (ROOT / "examples" / name).iterdir() if path.is_file()}
    assert {"README.md", "config.yaml"} < found
    assert len(found) == 3


@pytest.mark.slow
def test_an_own_loss_is_logged_by_its_name(follow: Callable[[str], imt.Run]) -> None:
    run = follow("your_own_loss")
    assert {"train/loss/overlap", "train/loss/pixels"} <= set(run.metrics.columns)


@pytest.mark.slow
def test_an_own_task_predicts_distances(follow: Callable[[str], imt.Run]) -> None:
    run = follow("your_own_task")
    assert "psnr" in run.evaluations["test"]["metrics"]
    written = sorted(Path("distances").glob("*.tif"))
    assert len(written) == 10
    found = imt.read(written[0]).pixels
    assert 0 <= found.min() <= found.max() <= 1
    assert len(np.unique(found)) > 2


@pytest.mark.slow
def test_an_own_format_is_trained_on_and_predicted(follow: Callable[[str], imt.Run]) -> None:
    run = follow("your_own_format")
    assert run.facts.spacing == (0.5, 0.5)
    written = sorted(Path("predicted").iterdir())
    assert [path.name for path in written] == [f"nuclei_{n:04d}.ome.tif" for n in range(10)]
    assert imt.read(written[0]).spacing == pytest.approx((0.5, 0.5))
