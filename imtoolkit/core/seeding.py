"""Seeds as a pure function of where a random number is drawn.

A random draw depends on (seed, epoch, sample, patch) and on nothing else, so that the number of
workers or ranks, and a resume in the middle of an epoch, change nothing.
"""

from __future__ import annotations

from typing import Final

_MASK: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15


def mix(*values: int, bits: int = 32) -> int:
    """Hash integers to a seed of ``bits`` bits with the splitmix64 finaliser.

    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.

    Example:
        >>> mix(0, 1) == mix(0, 1), mix(0, 1) == mix(1, 0)
        (True, False)
    """
    state = _GOLDEN
    for value in values:
        state = (state ^ (value & _MASK)) + _GOLDEN & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state >> (64 - bits)
