"""What all tests share: a private cache and runs folder, one thread, no network, drawn images."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

# The environment is set when pytest starts, before any test module imports matplotlib or torch, and
# child processes (workers, ranks, command lines) inherit it.
_private = tempfile.TemporaryDirectory(prefix="imtoolkit-tests-", ignore_cleanup_errors=True)
os.environ.update(
    IMTOOLKIT_CACHE=str(Path(_private.name) / "cache"),
    IMTOOLKIT_RUNS=str(Path(_private.name) / "runs"),
    IMTOOLKIT_SETTINGS=str(Path(_private.name) / "settings.yaml"),
    XDG_CONFIG_HOME=str(Path(_private.name) / "config"),
    XDG_CACHE_HOME=str(Path(_private.name) / "xdg-cache"),
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    MPLBACKEND="agg",
    COLUMNS="120",
    NO_COLOR="1",
)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a GPU")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Sums depend on the number of threads in the last bits; tests compare bits."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that leaves this machine: a test that needs one would be flaky."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            host = str(address[0])
            if host not in {"localhost", "::1", "0.0.0.0", ""} and not host.startswith("127."):
                message = f"a test tried to connect to {address}"
                raise OSError(message)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real images; tests that use it carry the marker ``realdata``."""
    folder = Path(os.environ.get("IMTOOLKIT_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real images are not at {folder}; say where with IMTOOLKIT_DATA")
    return folder.resolve()


Drawer = Callable[..., Path]


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawer:
    """Return ``drawn(name, count=6, seed=0, dims=None)``: a folder of drawn images, made once.

    Tests share the folders and must not write into them.
    """
    made: dict[tuple[str, int, int, int | None], Path] = {}

    def draw_once(name: str, count: int = 6, seed: int = 0, dims: int | None = None) -> Path:
        key = (name, count, seed, dims)
        if key not in made:
            from imtoolkit.samples import draw

            folder = tmp_path_factory.mktemp(name) / name
            draw(name, folder, count=count, seed=seed, dims=dims)
            made[key] = folder
        return made[key]

    return draw_once


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run the test in an empty folder with a cache and a runs folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMTOOLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("IMTOOLKIT_RUNS", str(tmp_path / "runs"))
    yield tmp_path
