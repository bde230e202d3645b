"""A DynUNet for a size of patches, as nnU-Net plans one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

_SMALLEST: Final = 4
_MOST: Final = {2: 512, 3: 320}
_FIRST: Final = 32
_STAGES: Final = 6


def plan_dynunet(size: Sequence[int], spacing: Sequence[float] | None = None) -> dict[str, Any]:
    """Return kernels, strides and filters of a DynUNet for patches of a size.

    The rules are those of Isensee et al., "nnU-Net: a self-configuring method for deep
    learning-based biomedical image segmentation", Nature Methods 2021, without their search for
    what fits the memory: an axis is halved while at least 4 pixels are left, and not while its
    pixels are more than twice as wide as the narrowest ones; kernels are 1 along axes that are not
    halved for that reason; features double from stage to stage, from 32 to at most 512 (2D) or 320
    (3D), in at most 6 stages. An axis is halved only where that leaves whole pixels.

    Args:
        size: Patch ``[Z,] Y, X``.
        spacing: Size of a pixel along each axis; left out, equal.

    Example:
        >>> plan_dynunet([64, 64])["filters"]
        [32, 64, 128, 256, 512]
        >>> plan_dynunet([16, 64, 64], [4.0, 1.0, 1.0])["strides"]
        [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2]]
    """
    sides, wide = list(size), [float(value) for value in spacing or [1.0] * len(size)]
    strides, kernels = [[1] * len(sides)], [_kernel(wide)]
    while len(strides) < _STAGES:
        stride = [2 if _halves(side, width, min(wide)) else 1
                  for side, width in zip(sides, wide, strict=True)]  # fmt: skip
        if set(stride) == {1}:
            break
        sides = [side // step for side, step in zip(sides, stride, strict=True)]
        wide = [width * step for width, step in zip(wide, stride, strict=True)]
        strides.append(stride)
        kernels.append(_kernel(wide))
    while len(strides) < 3:  # DynUNet has at least three stages
        strides.append([1] * len(sides))
        kernels.append(_kernel(wide))
    most = _MOST.get(len(sides), 320)
    return {
        "kernel_size": kernels,
        "strides": strides,
        "upsample_kernel_size": strides[1:],
        "filters": [min(_FIRST * 2**stage, most) for stage in range(len(strides))],
    }


def _halves(side: int, width: float, narrowest: float) -> bool:
    return side % 2 == 0 and side // 2 >= _SMALLEST and width <= 2 * narrowest


def _kernel(wide: Sequence[float]) -> list[int]:
    return [1 if width > 2 * min(wide) else 3 for width in wide]
