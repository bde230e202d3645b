"""Every preset is found by its bare name."""

from __future__ import annotations

from collections import Counter

from imtoolkit.config.presets import presets


def test_no_two_presets_share_a_bare_name_but_those_that_say_so() -> None:
    counts = Counter(name.rpartition("/")[2] for name in presets())
    shared = {name for name, count in counts.items() if count > 1}

    # each is named with its task everywhere in the documentation
    assert shared == {"denoise_2d", "wells_2d"}
