"""The inner parts of Lightning that manual steps stand on."""

from __future__ import annotations

import pytest
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer

from imtoolkit.tasks.manual import INNER

PARTS = [(owner, name) for owner, names in INNER.items() for name in names]


@pytest.mark.parametrize(("owner", "name"), PARTS)
def test_lightning_has_the_inner_parts_that_manual_steps_need(owner: type, name: str) -> None:
    if owner is LightningOptimizer:  # has its hooks as attributes of each optimizer
        plain = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
        assert callable(getattr(LightningOptimizer(plain), name))
    else:
        assert callable(getattr(owner, name))
