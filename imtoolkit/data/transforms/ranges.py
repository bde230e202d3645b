"""Parameters of random transforms: a number or a range, and the axes of an image."""

from __future__ import annotations

import math
from collections.abc import Sequence


def between(
    value: float | Sequence[float],
    name: str,
    *,
    lowest: float = -math.inf,
    highest: float = math.inf,
) -> tuple[float, float]:
    """Return a parameter as smallest and largest value.

    Args:
        value: A number, or two.
        name: Name of the parameter, for messages.
        lowest: What the numbers may be at least.
        highest: What they may be at most.

    Raises:
        ValueError: If it is neither, or reaches further.

    Example:
        >>> between(3, "std"), between([0.5, 1], "std")
        ((3.0, 3.0), (0.5, 1.0))
    """
    pair = [value] if isinstance(value, (int, float)) else list(value)
    numbers = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in pair)
    ok = numbers and len(pair) in (1, 2)
    if not ok or not lowest <= pair[0] <= pair[-1] <= highest or not math.isfinite(pair[-1]):
        limits = [f"at least {lowest:g}"] if lowest > -math.inf else []
        limits += [f"at most {highest:g}"] if highest < math.inf else []
        message = (
            f"got {name}={value!r}; expected a number, or the smallest and the largest to draw "
            f"from as [smallest, largest]{', ' if limits else ''}{' and '.join(limits)}"
        )
        raise ValueError(message)
    return float(pair[0]), float(pair[-1])


def spatial_axes(names: Sequence[str] | None) -> tuple[int, ...]:
    """Return axes counted from the end; all three where none are named.

    Raises:
        ValueError: If one is not Z, Y or X, or there is none.

    Example:
        >>> spatial_axes(["Y", "X"]), spatial_axes(None)
        ((-2, -1), (-3, -2, -1))
    """
    if names is None:
        return (-3, -2, -1)
    known = {"Z": -3, "Y": -2, "X": -1}
    unknown = [name for name in names if str(name).upper() not in known]
    if unknown or not names or len(set(names)) < len(names):
        message = f"got axes={list(names)}; expected Z, Y or X in a list, such as [Y, X]"
        raise ValueError(message)
    return tuple(known[name.upper()] for name in names)
