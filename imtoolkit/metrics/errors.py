"""Does an uncertainty tell where a prediction is wrong?"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from .base import Array


def error_auroc(uncertainty: Array, wrong: Array) -> float:
    """Return how often a wrong pixel is more uncertain than a right one: the area under the ROC.

    Args:
        uncertainty: Of the pixels that count, ``(N,)``.
        wrong: Whether the prediction is wrong there, ``(N,)``.

    Returns:
        0.5 where it tells nothing, 1 where every wrong pixel is more uncertain than all others;
        equal ones count half. NaN where all pixels are right, or all wrong.

    Example:
        >>> error_auroc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
        0.875
    """
    count = int(np.count_nonzero(wrong))
    if count in (0, wrong.size):
        return float("nan")
    ranks = rankdata(uncertainty)
    above = float(ranks[wrong].sum()) - count * (count + 1) / 2
    return above / (count * (wrong.size - count))


def rank_correlation(first: Array, second: Array) -> float:
    """Return Spearman's correlation of two columns; NaN where fewer than three pairs are known.

    Example:
        >>> rank_correlation(np.array([1.0, 2.0, 4.0, 8.0]), np.array([0.1, 0.2, 0.3, 0.4]))
        1.0
    """
    known = np.isfinite(first) & np.isfinite(second)
    if np.count_nonzero(known) < 3:
        return float("nan")
    ours, theirs = (rankdata(values[known]) for values in (first, second))
    ours, theirs = ours - ours.mean(), theirs - theirs.mean()
    size = float(np.sqrt((ours**2).sum() * (theirs**2).sum()))
    return float((ours * theirs).sum() / size) if size > 0 else float("nan")
