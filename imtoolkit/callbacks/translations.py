"""What is drawn of a translation between two domains: both ways, and back again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from imtoolkit.callbacks.evaluated import Evaluated
from imtoolkit.figures.grid import Panel

BACK: Final = "cycle"
"""Name under which a task returns what came back, beside its translation."""


@dataclass(frozen=True)
class Translated:
    """One evaluated image of a translation, as arrays.

    Attributes:
        id: Id of the image.
        image: The image ``(C, [Z,] Y, X)``.
        made: Its translation.
        back: What the translation was made into again.
        target: What the translation should be, where it is known.
        row: Its metrics.
    """

    id: str
    image: NDArray[Any]
    made: NDArray[Any]
    back: NDArray[Any] | None = None
    target: NDArray[Any] | None = None
    row: Mapping[str, Any] | None = None


def translated(one: Evaluated) -> Translated:
    """Return what is drawn of an evaluated image."""
    heads = {head.name: head for head in one.heads}
    main, back = heads[""], heads.get(BACK)
    return Translated(
        one.id,
        _array(one.image),
        _array(main.prediction),
        None if back is None else _array(back.prediction),
        None if main.target is None else _array(main.target),
        one.row,
    )


def translation_rows(
    first: Sequence[Translated], second: Sequence[Translated], names: tuple[str, str]
) -> list[list[Panel]]:
    """Return rows of panels: an image of each domain, translated, and back again.

    Translations are drawn on the brightness scale of a real image of their domain, and what came
    back on that of the original: so a translation that is too dark, or all alike, is seen.

    Args:
        first: Images of domain A.
        second: Images of domain B.
        names: What the domains are called.
    """
    rows = []
    for ours, theirs in itertools.zip_longest(first, second):
        row = _panels(ours, theirs, names) if ours is not None else []
        row += _panels(theirs, ours, names[::-1]) if theirs is not None else []
        rows.append(row)
    return rows


def _panels(one: Translated, other: Translated | None, names: Sequence[str]) -> list[Panel]:
    here, there = names
    row = one.row or {}
    scale = one.target if one.target is not None else None if other is None else other.image
    found = [
        Panel(here, one.image, one.id),
        Panel(f"{here} → {there}", one.made, _said("PSNR", row.get("psnr")), scale),
    ]
    if one.target is not None:
        found.append(Panel(f"{there}, true", one.target))
    if one.back is not None:
        said = _said("PSNR", row.get("cycle_psnr"))
        found.append(Panel(f"{here} → {there} → {here}", one.back, said, one.image))
    return found


def _said(name: str, value: Any) -> str:
    known = isinstance(value, float) and math.isfinite(value)
    return f"{name} {value:.1f}" if known else ""


def _array(values: Tensor) -> NDArray[Any]:
    found: NDArray[Any] = np.asarray(values.detach().float().cpu())
    return found
