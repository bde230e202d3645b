"""From the section ``data`` to the plan of an epoch: what is drawn how often."""

from __future__ import annotations

import numpy as np

from imtoolkit.config.sections import DataConfig
from imtoolkit.core.facts import TargetSpec
from imtoolkit.core.seeding import mix
from imtoolkit.data.samplers import Plan, group_numbers
from imtoolkit.data.table import Manifest
from imtoolkit.data.wanted import resolved_column

_ORDER = 1  # what the seed is for


def plan_epochs(config: DataConfig, target: TargetSpec, training: Manifest, seed: int) -> Plan:
    """Return which training samples an epoch visits.

    Args:
        config: The section ``data``.
        target: What the task wants of the targets; ``balance_by: target`` means their column.
        training: The training samples.
        seed: Seed of the run.

    Raises:
        DataError: If there are no samples, or the column that balances them does not exist.
    """
    groups = None
    if config.loader.balance_by is not None:
        column = resolved_column(config.loader.balance_by, target)
        groups = group_numbers(training.column(column))
    return Plan(
        len(training),
        config.loader.samples_per_epoch,
        weights=_source_weights(config, training),
        groups=groups,
        seed=mix(seed, _ORDER),
    )


def _source_weights(config: DataConfig, training: Manifest) -> np.ndarray | None:
    weights = {name: source.weight for name, source in config.sources.items()}
    if len(set(weights.values())) < 2:
        return None
    return np.array([weights[name] for name in training.column("dataset")], dtype=np.float64)
