"""A picture of predicted numbers: each image as a point, its number against the prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from .canvas import Picture, new_picture
from .colours import PALETTE

_ACROSS: Final = 3


def numbers_figure(pairs: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]) -> Picture:
    """Draw predicted numbers against true ones, a panel for each kind of number.

    Args:
        pairs: Targets and predictions ``(N,)`` by name; images without a target (NaN) are left out.

    Raises:
        ValueError: If there is nothing to draw.
    """
    if not pairs:
        message = "there are no numbers to draw"
        raise ValueError(message)
    across = min(len(pairs), _ACROSS)
    down = -(-len(pairs) // across)
    figure = new_picture(3.7 * across, 3.7 * down)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (name, (target, predicted)) in zip(panels, pairs.items(), strict=False):
        _draw_points(axes, np.asarray(target, float), np.asarray(predicted, float))
        axes.set_title(name, fontsize=10)
    for axes in panels[len(pairs) :]:
        axes.set_axis_off()
    return figure


def _draw_points(axes: Axes, target: NDArray[Any], predicted: NDArray[Any]) -> None:
    known = np.isfinite(target) & np.isfinite(predicted)
    target, predicted = target[known], predicted[known]
    if target.size:
        both = np.concatenate([target, predicted])
        margin = 0.05 * float(np.ptp(both)) or 1.0
        ends = (float(both.min()) - margin, float(both.max()) + margin)
        axes.plot(ends, ends, color="0.7", linewidth=0.8, linestyle="--")
        axes.set_xlim(*ends)
        axes.set_ylim(*ends)
    alpha = 0.7 if target.size < 500 else 0.3
    axes.scatter(target, predicted, s=12, color=PALETTE[5], alpha=alpha, linewidths=0)
    axes.set_aspect("equal")
    axes.set_xlabel("true", fontsize=8)
    axes.set_ylabel("predicted", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(visible=True, color="0.92", linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
