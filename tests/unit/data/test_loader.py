"""Workers of the loader: what they do with Ctrl-C and with errors."""

import multiprocessing
import signal
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from imtoolkit.core.errors import DataError
from imtoolkit.data.loader import ImageLoader


class Interrupted(Dataset[dict[str, Any]]):
    """Each sample comes with a Ctrl-C."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict[str, Any]:
        signal.raise_signal(signal.SIGINT)
        return {"image": torch.full((1, 4, 4), float(index)), "id": f"{index}"}


class Spoilt(Interrupted):
    """The last sample is none."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == 2:
            message = "image 2 is empty"
            raise DataError(message)
        return super().__getitem__(index)


METHODS = [name for name in multiprocessing.get_all_start_methods() if name != "forkserver"]


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupt_does_not_end_a_worker(method: str) -> None:
    loader = ImageLoader(Interrupted(), num_workers=1, multiprocessing_context=method)
    batches = list(loader)
    assert [batch["id"] for batch in batches] == [["0"], ["1"], ["2"]]
    assert [float(batch["image"].mean()) for batch in batches] == [0.0, 1.0, 2.0]


def test_without_workers_an_interrupt_reaches_the_caller() -> None:
    # a test process that runs in the background begins with SIGINT ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            next(iter(ImageLoader(Interrupted())))
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_error_of_a_worker_comes_without_its_traceback() -> None:
    batches = iter(ImageLoader(Spoilt(), num_workers=1))
    next(batches)
    next(batches)
    with pytest.raises(DataError) as caught:
        next(batches)
    assert str(caught.value) == "image 2 is empty"
