"""Seeds are a pure function of where a number is drawn."""

from __future__ import annotations

import itertools

from imtoolkit.core.seeding import mix


def test_seeds_differ_in_each_argument_and_their_order() -> None:
    places = itertools.product(range(4), range(8), range(64))
    seeds = {mix(*place) for place in places}
    assert len(seeds) == 4 * 8 * 64
    assert mix(1, 2) != mix(2, 1)


def test_the_value_is_the_same_in_every_release() -> None:
    # stored runs are resumed with it
    assert (mix(0, 0, 0), mix(1, 2, 3)) == (2158749698, 1221546024)
    assert 0 <= mix(7, bits=16) < 2**16
