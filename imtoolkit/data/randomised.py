"""Random transforms on one sample; all of them draw from the one state that the caller seeds."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from monai.transforms import Transform

from imtoolkit.core.batch import IMAGE, TARGET, WEIGHT
from imtoolkit.core.errors import DataError, ImtoolkitError
from imtoolkit.data.transforms.base import RandomSampleTransform, Sample, plain

_GRIDS = (IMAGE, TARGET, WEIGHT)


def apply_random(
    sample: Sample, transforms: Sequence[Transform], state: np.random.RandomState, where: str
) -> Sample:
    """Apply transforms that share ``state``.

    Args:
        sample: The sample; its arrays may be views of a memory map, and are not written to.
        transforms: In their order.
        state: Where random numbers come from.
        where: Key of the config that lists them, for messages.

    Raises:
        DataError: If a transform fails, naming the sample.
    """
    for transform in transforms:
        own = isinstance(transform, RandomSampleTransform)
        if not (isinstance(transform, RandomSampleTransform) and transform.views):
            _materialise(sample)
        try:
            if own:
                sample = transform(sample)
            else:
                with _seeded_elsewhere(state):
                    sample = transform(sample)
        except ImtoolkitError:
            raise
        except Exception as error:  # a transform of MONAI or a plugin may raise anything
            text = str(error).strip() or type(error).__name__
            name = type(transform).__name__
            message = f"sample '{sample.get('id')}': {name} of {where} failed: {text}"
            raise DataError(message) from error
    return sample


def _materialise(sample: Sample) -> None:
    # other transforms may write in place or need strides that torch knows: give them a copy of the
    # map
    for key in _GRIDS:
        if isinstance(sample.get(key), np.ndarray) and sample[key].ndim > 1:
            sample[key] = torch.from_numpy(np.array(sample[key], order="C"))
        elif key in sample and isinstance(sample[key], torch.Tensor):
            sample[key] = plain(sample[key])


@contextlib.contextmanager
def _seeded_elsewhere(state: np.random.RandomState) -> Iterator[None]:
    """Seed the global generators, which some transforms draw from, and leave them as they were."""
    seed = int(state.randint(0, 2**31 - 1))
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
