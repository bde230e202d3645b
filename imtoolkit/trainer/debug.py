"""``--debug``: one word for what one sets to find out why a training does not work."""

from __future__ import annotations

from typing import Any, Final

from imtoolkit.core.errors import ConfigError, Problem, did_you_mean

MODES: Final[dict[str, dict[str, Any]]] = {
    "fast": {"trainer.fast_dev_run": 2},
    "overfit": {
        "trainer.overfit_batches": 2,
        "trainer.max_epochs": 50,
        "trainer.check_val_every_n_epoch": 10,
        "data.augment": [],
        "evaluation.splits": [],
    },
    "limit": {
        "trainer.max_epochs": 2,
        "trainer.limit_train_batches": 4,
        "trainer.limit_val_batches": 2,
        "trainer.limit_test_batches": 2,
    },
    "profile": {
        "trainer.max_epochs": 1,
        "trainer.limit_train_batches": 50,
        "trainer.limit_val_batches": 5,
        "trainer.profiler": "simple",
        "evaluation.splits": [],
    },
}
"""Word -> overrides: two batches of everything; two batches by heart; two short epochs; where
the time goes (``fit-profile.txt`` in the run folder)."""


def debug_overrides(mode: str) -> dict[str, Any]:
    """Return the overrides of a debug mode.

    Raises:
        ConfigError: If there is no such mode.

    Example:
        >>> debug_overrides("fast")
        {'trainer.fast_dev_run': 2}
    """
    if mode not in MODES:
        message = f"no mode '{mode}'.{did_you_mean(mode, MODES)} There are {', '.join(MODES)}"
        raise ConfigError(Problem(message, where="--debug"))
    return dict(MODES[mode])
