"""The notebooks in `examples/` run from top to bottom."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the notebook reads this to draw few images and train for one epoch
    monkeypatch.setenv("IMTOOLKIT_EXAMPLE_SHORT", "1")
    shutil.copytree(ROOT / "configs", workdir / "configs")
    content = nbformat.read(notebook, as_version=4)

    NotebookClient(content, timeout=300, resources={"metadata": {"path": str(workdir)}}).execute()

    cells = [cell for cell in content.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells if cell.source.strip())


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(notebook: Path) -> None:
    content = nbformat.read(notebook, as_version=4)
    nbformat.validate(content)
    assert not any(cell.get("outputs") for cell in content.cells)
