"""The inner parts of Lightning that manual steps stand on."""

from __future__ import annotations

import pytest

from imtoolkit.tasks.manual import INNER


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner, names in INNER.items() for name in names]
)
def test_lightning_has_the_inner_parts_that_manual_steps_need(owner: type, name: str) -> None:
    assert callable(getattr(owner, name))
