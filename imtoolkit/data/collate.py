"""From samples to a batch of plain tensors, each pixel copied once."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Sequence
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

from imtoolkit.core.batch import AFFINE, IMAGE, TARGET, WEIGHT, Batch
from imtoolkit.core.errors import DataError
from imtoolkit.data.transforms.base import Sample, plain


def collate(samples: Sequence[Sample]) -> Batch:
    """Join samples to a batch.

    Pixels become tensors ``(B, C, [Z,] Y, X)``: the image float32, labels in the widest integer
    dtype of the samples. Numbers become tensors; all else, such as ids, becomes a list. A key that
    only some samples have is left out, except for the cost map, which is 1 where a sample has none.

    Raises:
        DataError: If the images differ in size, naming two of them.
    """
    batch: Batch = {}
    for key in dict.fromkeys(key for sample in samples for key in sample):
        values = [sample.get(key) for sample in samples]
        if key == WEIGHT:
            values = [
                _ones(sample) if sample.get(key) is None else sample[key] for sample in samples
            ]
        if any(value is None for value in values) and key in (IMAGE, TARGET, AFFINE):
            continue
        batch[str(key)] = _join(str(key), values, samples)
    return batch


def _join(key: str, values: list[Any], samples: Sequence[Sample]) -> Any:
    first = values[0]
    if isinstance(first, (np.ndarray, torch.Tensor)) and first.ndim > 0:
        return _stack(key, values, samples)
    if isinstance(first, torch.Tensor):
        return torch.stack([plain(value) for value in values])
    if all(isinstance(value, Number) and not isinstance(value, bool) for value in values):
        return torch.tensor(values)
    return values


def _stack(key: str, values: list[Any], samples: Sequence[Sample]) -> torch.Tensor:
    shapes = {tuple(value.shape) for value in values}
    if len(shapes) > 1:
        other = next(place for place, v in enumerate(values) if v.shape != values[0].shape)
        message = (
            f"a batch needs {key}s of one size: '{samples[0].get('id')}' has "
            f"{tuple(values[0].shape)}, '{samples[other].get('id')}' has "
            f"{tuple(values[other].shape)}. Set data.patch.size to cut patches, or "
            "data.loader.batch_size: 1"
        )
        raise DataError(message)
    dtype = torch.float32 if key in (IMAGE, WEIGHT) else _common_dtype(values)
    out = _empty((len(values), *values[0].shape), dtype)
    for place, value in enumerate(values):
        if isinstance(value, np.ndarray):
            copy_into(out[place].numpy(), value)
        else:
            out[place].copy_(plain(value))
    return out


def copy_into(out: np.ndarray, view: np.ndarray) -> None:
    """Copy a view, turned or mirrored perhaps, into a contiguous array of the same shape.

    Which way is fastest was measured for 32x128x128: numpy copies whole rows quickly, torch mirrors
    rows faster, and a quarter turn is fastest out of a buffer that the processor's cache can hold.
    """
    if view.ndim > 2 and abs(view.strides[-1]) > abs(view.strides[-2]) > 0:
        view = _buffered(view.swapaxes(-1, -2)).swapaxes(-1, -2)
    elif view.strides[-1] < 0 and view.dtype == out.dtype:
        mirrored = tuple(axis for axis, stride in enumerate(view.strides) if stride < 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the memory map is not written to
            rows = torch.from_numpy(np.flip(view, mirrored))
        torch.from_numpy(out).copy_(torch.flip(rows, mirrored))
        return
    np.copyto(out, view, casting="unsafe")


def _buffered(rows: np.ndarray) -> np.ndarray:
    """Copy an array row by row into a buffer, and return it mirrored as it was."""
    mirrored = tuple(axis for axis, stride in enumerate(rows.strides) if stride < 0)
    buffer = _buffer(rows.shape, rows.dtype.str, threading.get_ident())
    np.copyto(buffer, np.flip(rows, mirrored))
    return np.flip(buffer, mirrored)


@functools.lru_cache(maxsize=8)
def _buffer(shape: tuple[int, ...], dtype: str, _thread: int) -> np.ndarray:
    # rows longer by a cache line: at a power of two, all rows of a column fall into one set of the
    # cache
    kind = np.dtype(dtype)
    whole = np.empty((*shape[:-1], shape[-1] + max(64 // kind.itemsize, 1)), kind)
    return whole[..., : shape[-1]]


def _common_dtype(values: list[Any]) -> torch.dtype:
    found = [
        torch.from_numpy(np.empty(0, value.dtype)).dtype
        if isinstance(value, np.ndarray)
        else value.dtype
        for value in values
    ]
    dtype = found[0]
    for other in found[1:]:
        dtype = torch.promote_types(dtype, other)
    return dtype


def _empty(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    if get_worker_info() is None:
        return torch.empty(shape, dtype=dtype)
    # in a worker: straight into the memory that the main process will read
    count = int(np.prod(shape))
    size = count * torch.empty(0, dtype=dtype).element_size()
    storage = torch.UntypedStorage._new_shared(size)  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=dtype).set_(storage, 0, shape)  # type: ignore[call-overload, no-any-return]


def _ones(sample: Sample) -> torch.Tensor:
    return torch.ones((1, *sample[IMAGE].shape[1:]))
