"""A net applied to a whole image: padded, cut into tiles, predicted in batches, blended."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from types import EllipsisType

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from torch import Tensor

from .tiles import Tile, gaussian_weight, plan_tiles

Net = Callable[[Tensor], Tensor]


def predict_tiled(
    net: Net,
    image: Tensor,
    *,
    tile: Sequence[int] | None = None,
    overlap: float = 0.25,
    blend: str = "gaussian",
    batch_size: int = 4,
    flips: bool = False,
    multiple: Sequence[int] | int = 1,
    vectors: int = 0,
) -> Tensor:
    """Predict an image of any size, tile by tile.

    Args:
        net: Maps ``(N, C, [Z,] Y, X)`` to ``(N, K, [Z,] Y, X)`` of the same spatial shape.
        image: One image ``(1, C, [Z,] Y, X)`` on the device of the net.
        tile: Spatial size of a tile; ``None`` takes the whole image at once.
        overlap: Least fraction of a tile that neighbours share, in ``[0, 1)``.
        blend: ``"gaussian"`` weighs the middle of a tile more, ``"constant"`` averages.
        batch_size: Tiles in a batch.
        flips: Average over all mirrored copies of the image.
        multiple: The net needs sides that are multiples of this (a number, or one for each);
            whole images are padded to it. A tile is expected to fit.
        vectors: Leading channels of the output that are a vector along the spatial axes, which
            turns with a mirrored image.

    Returns:
        Float32 tensor ``(1, K, [Z,] Y, X)`` on the device of the image.

    Raises:
        ValueError: If the image is not a batch of one, or the net changes the spatial shape.
    """
    if image.shape[0] != 1:
        message = f"got a batch of {image.shape[0]} images; expected one image (1, C, ...)"
        raise ValueError(message)
    if flips:
        net = mirrored(net, spatial_dims=image.ndim - 2, vectors=vectors)
    shape = tuple(image.shape[2:])
    size = tuple(tile) if tile is not None else _round_up(shape, multiple)
    padded = pad_to(image, [max(a, b) for a, b in zip(shape, size, strict=True)])
    tiles = plan_tiles(padded.shape[2:], size, overlap)
    if len(tiles) == 1:
        raw = _apply(net, padded)
    else:
        raw = _blend_tiles(net, padded, tiles, blend, batch_size)
    return raw[at(*(slice(0, length) for length in shape))]


def mean_over_tiles(
    net: Net, image: Tensor, *, tile: Sequence[int], overlap: float = 0.25, batch_size: int = 4
) -> Tensor:
    """Return the mean of what a net says of the tiles of an image, of each tile a few numbers.

    Args:
        net: Maps ``(N, C, [Z,] Y, X)`` to ``(N, L)``.
        image: One image ``(1, C, [Z,] Y, X)`` on the device of the net.
        tile: Spatial size of a tile; smaller images are padded to it.
        overlap: Least fraction of a tile that neighbours share, in ``[0, 1)``.
        batch_size: Tiles in a batch.

    Returns:
        Float32 tensor ``(1, L)``.
    """
    sides = [max(a, b) for a, b in zip(image.shape[2:], tile, strict=True)]
    padded = pad_to(image, sides)
    tiles = plan_tiles(sides, tile, overlap)
    said = [
        net(torch.cat([padded[at(*part)] for part in group])).float()
        for group in _batches(tiles, batch_size)
    ]
    return torch.cat(said).mean(0, keepdim=True)


def mirrored(net: Net, spatial_dims: int, vectors: int = 0) -> Net:
    """Return a net that averages its output over all mirrored copies of its input.

    An output with a value for each pixel is mirrored back first; values for the whole image
    ``(N, K)`` are averaged as they are.

    Args:
        net: The net.
        spatial_dims: 2 or 3.
        vectors: Leading channels that are components along the axes ``[Z,] Y, X``: a mirrored axis
            changes the sign of its component.
    """
    axes = range(2, 2 + spatial_dims)
    subsets = [s for n in range(spatial_dims + 1) for s in itertools.combinations(axes, n)]

    def average(image: Tensor) -> Tensor:
        outputs = ((subset, net(image.flip(subset)).float()) for subset in subsets)
        total = sum(
            _turned(raw.flip(subset), subset, vectors) if raw.ndim > 2 else raw
            for subset, raw in outputs
        )
        return total / len(subsets)  # type: ignore[return-value]  # sum() of tensors is a tensor

    return average


def _turned(raw: Tensor, axes: Sequence[int], vectors: int) -> Tensor:
    """Change the sign of the components of vectors along mirrored axes."""
    own = [axis - 2 for axis in axes if axis - 2 < vectors]
    if not own:
        return raw
    signs = raw.new_ones(raw.shape[1])
    signs[own] = -1
    return raw * signs.reshape(-1, *[1] * (raw.ndim - 2))


def pad_to(image: Tensor, shape: Sequence[int]) -> Tensor:
    """Pad the end of each spatial axis to ``shape``, by reflection where it is long enough."""
    missing = [want - have for want, have in zip(shape, image.shape[2:], strict=True)]
    if not any(missing):
        return image
    pads = [amount for side in reversed(missing) for amount in (0, side)]
    fits = all(gap < have for gap, have in zip(missing, image.shape[2:], strict=True))
    return F.pad(image, pads, mode="reflect" if fits else "replicate")


def _blend_tiles(net: Net, image: Tensor, tiles: list[Tile], blend: str, batch: int) -> Tensor:
    size = [part.stop - part.start for part in tiles[0]]
    weight = gaussian_weight(size) if blend == "gaussian" else torch.ones(size)
    weight = weight.to(image.device)
    total = image.new_zeros((1, 1, *image.shape[2:]), dtype=torch.float32)
    summed: Tensor | None = None
    for group in _batches(tiles, batch):
        raw = _apply(net, torch.cat([image[at(*part)] for part in group]))
        if summed is None:
            summed = raw.new_zeros((1, raw.shape[1], *image.shape[2:]))
        for part, values in zip(group, raw, strict=True):
            summed[at(*part)] += values * weight
            total[at(*part)] += weight
    assert summed is not None  # plan_tiles returns at least one tile
    return summed / total


def _apply(net: Net, patches: Tensor) -> Tensor:
    raw = net(patches).float()
    if raw.shape[2:] != patches.shape[2:]:
        message = (
            f"the net turned a patch of {tuple(patches.shape[2:])} into {tuple(raw.shape[2:])}; "
            "expected the same spatial shape"
        )
        raise ValueError(message)
    return raw


def at(*part: slice) -> tuple[EllipsisType | slice, ...]:
    """Index the spatial axes of a tensor."""
    return (..., *part)


def _batches(tiles: list[Tile], size: int) -> Iterator[list[Tile]]:
    for start in range(0, len(tiles), size):
        yield tiles[start : start + size]


def _round_up(shape: Sequence[int], multiple: Sequence[int] | int) -> tuple[int, ...]:
    factors = [multiple] * len(shape) if isinstance(multiple, int) else list(multiple)
    return tuple(-(-side // factor) * factor for side, factor in zip(shape, factors, strict=True))
