"""Images that are too large at once: objects found block by block, and joined."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imtoolkit.config.sections import InferenceConfig
from imtoolkit.labels.stitching import Box, stitch

log = logging.getLogger(__name__)

LARGE: Final = 2**26
"""Pixels above which images go by blocks unasked."""
UNASKED: Final = {2: 4096, 3: 256}
"""Side of the blocks then, by the number of axes."""
_OVERLAP: Final = 256
LabelBlock = Callable[[Tensor], Tensor]


def blocks_for(
    shape: Sequence[int], inference: InferenceConfig
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return the size of blocks and of their overlap; ``None`` for an image that goes at once.

    Args:
        shape: Spatial shape of the image.
        inference: The section ``inference``: its ``block`` and ``block_overlap``.

    Example:
        >>> blocks_for((2000, 500), InferenceConfig(block=[1024, 1024]))
        ((1024, 1024), (256, 256))
        >>> blocks_for((2000, 500), InferenceConfig()) is None
        True
    """
    block = inference.block
    if block is None and math.prod(shape) <= LARGE:
        return None
    sides = tuple(block or (UNASKED[len(shape)],) * len(shape))
    if all(side <= length for side, length in zip(shape, sides, strict=True)):
        return None
    given = inference.block_overlap
    return sides, tuple(given or (min(_OVERLAP, side // 4) for side in sides))


def label_by_blocks(
    label_block: LabelBlock, image: Tensor, block: Sequence[int], overlap: Sequence[int]
) -> Tensor:
    """Find the objects of an image block by block.

    Args:
        label_block: Returns the objects ``([Z,] Y, X)`` of a part of the image ``(1, C, [Z,] Y,
            X)``.
        image: ``(1, C, [Z,] Y, X)``.
        block: Size of a block ``[Z,] Y, X``.
        overlap: Pixels that neighbours share.

    Returns:
        Int32 tensor ``(1, [Z,] Y, X)``.
    """

    def of(box: Box) -> NDArray[np.integer[Any]]:
        part = image[(slice(None), slice(None), *box)]
        found: NDArray[np.integer[Any]] = label_block(part).cpu().numpy()
        return found

    made = stitch(of, tuple(image.shape[2:]), block=block, overlap=overlap)
    if made.cut:
        log.warning(
            "%d of %d objects are longer than the overlap of blocks, %s pixels: no block has seen "
            "them whole, and their parts were joined. Raise inference.block_overlap if they look "
            "cut",
            made.cut,
            made.count,
            " x ".join(map(str, overlap)),
        )
    return torch.from_numpy(made.labels)[None]
