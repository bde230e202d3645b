"""How units (samples, or groups of samples) are dealt out: by number, in strata, in folds.

Everything here works on plain arrays. A *unit* never parts. The order in which units are drawn is a
hash of the seed and their name, so it depends neither on the order of the files nor on the machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def drawing_order(names: Sequence[str], seed: int) -> Ints:
    """Return the positions of ``names`` in a random order that depends on seed and names alone.

    Example:
        >>> a, b = ["x", "y", "z"], ["z", "x", "y"]
        >>> [a[i] for i in drawing_order(a, 7)] == [b[i] for i in drawing_order(b, 7)]
        True
    """
    keys = [
        hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest() + name.encode()
        for name in names
    ]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def draw(counts: Ints, order: Ints, number: int) -> Ints:
    """Choose units that together hold ``number`` samples, as nearly as whole units allow.

    Args:
        counts: Samples of each unit in each stratum, ``(units, strata)``.
        order: Units in the order in which they are drawn.
        number: Samples wanted, at least 1.

    Returns:
        Chosen units, at least one. Each stratum is represented as it is in all units. With one
        stratum the number is missed by at most half a unit that could have been chosen or left.
    """
    sizes = counts.sum(axis=1)
    if counts.shape[1] == 1:
        return _draw_plain(sizes, order, number)
    if (sizes == 1).all():
        return _draw_strata(counts, order, number)
    return _draw_whole(counts, order, number)


def deal(counts: Ints, order: Ints, folds: int) -> Ints:
    """Deal units into folds of equal size and, where there are strata, of equal composition.

    Args:
        counts: Samples of each unit in each stratum, ``(units, strata)``.
        order: Units in a random order.
        folds: Number of folds, at most the number of units.

    Returns:
        The fold of each unit.
    """
    sizes = counts.sum(axis=1)
    chosen = np.empty(len(sizes), dtype=np.int64)
    if (sizes == 1).all():
        stratum = counts[order].argmax(axis=1)
        # dealt like cards, stratum after stratum: sizes and strata differ by at most one
        chosen[order[np.argsort(stratum, kind="stable")]] = np.arange(len(sizes)) % folds
        return chosen
    held = np.zeros((folds, counts.shape[1]))
    total = np.maximum(counts.sum(axis=0), 1)
    spread = counts.std(axis=1) if counts.shape[1] > 1 else sizes
    # the units that are hardest to place come first (as in scikit-learn's StratifiedGroupKFold)
    for unit in order[np.lexsort((-sizes[order], -spread[order]))]:
        uneven = [_unevenness(held, counts[unit], fold, total) for fold in range(folds)]
        best = min(range(folds), key=lambda fold: (round(uneven[fold], 12), held[fold].sum(), fold))
        held[best] += counts[unit]
        chosen[unit] = best
    return chosen


def shares(total: Ints, number: int) -> Ints:
    """Divide ``number`` over strata in proportion to their sizes, exactly, by largest remainders.

    Example:
        >>> shares(np.array([70, 30]), 5).tolist()
        [4, 1]
    """
    exact = number * total / max(int(total.sum()), 1)
    whole = np.floor(exact).astype(np.int64)
    rest = number - int(whole.sum())
    whole[np.argsort(-(exact - whole), kind="stable")[:rest]] += 1
    return whole


def _draw_plain(sizes: Ints, order: Ints, number: int) -> Ints:
    chosen: list[int] = []
    held = 0
    for unit in order.tolist():
        # a unit that would overshoot by more than what is lacking is passed over
        if abs(held + sizes[unit] - number) < abs(held - number):
            chosen.append(unit)
            held += int(sizes[unit])
    return np.array(chosen or [int(order[np.argmin(sizes[order])])], dtype=np.int64)


def _draw_strata(counts: Ints, order: Ints, number: int) -> Ints:
    wanted = shares(counts.sum(axis=0), number)
    stratum = counts.argmax(axis=1)[order]
    parts = [order[stratum == at][:share] for at, share in enumerate(wanted.tolist())]
    return np.concatenate(parts)


def _draw_whole(counts: Ints, order: Ints, number: int, moves: int = 500) -> Ints:
    """Choose groups: a first pass in order, then the single moves that help most."""
    total = counts.sum(axis=0)
    wanted = number * total / total.sum()
    weights = np.append(1 / np.maximum(wanted, 1), 4 * len(total) / number)
    # the last column keeps the sum over the strata near the number as well
    vectors = np.column_stack([counts, counts.sum(axis=1)]).astype(float)
    rest = np.append(wanted, number)
    inside = np.zeros(len(counts), dtype=bool)
    for unit in order.tolist():
        # no stratum may overshoot by more than half of what the unit brings
        if (vectors[unit] / 2 <= np.maximum(rest, 0)).all():
            inside[unit] = True
            rest = rest - vectors[unit]
    for _ in range(moves):
        signs = np.where(inside, -1.0, 1.0)[:, None]
        costs = ((rest - signs * vectors) ** 2 * weights).sum(axis=1)
        best = int(order[np.argmin(costs[order])])
        if costs[best] >= _cost(rest, weights) - 1e-9:
            break
        rest = rest - signs[best] * vectors[best]
        inside[best] = not inside[best]
    if not inside.any():
        inside[order[np.argmin(counts.sum(axis=1)[order])]] = True
    return order[inside[order]]


def _cost(rest: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    return float((rest**2 * weights).sum())


def _unevenness(held: NDArray[np.float64], unit: Ints, fold: int, total: Ints) -> float:
    """Return how differently the strata would lie over the folds with one more unit in a fold."""
    after = held.copy()
    after[fold] += unit
    return float((after / total).std(axis=0).mean())
