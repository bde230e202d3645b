"""From the section ``data`` to the plan of an epoch: what is drawn how often."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from imtoolkit.config.sections import DataConfig
from imtoolkit.core.batch import DOMAIN
from imtoolkit.core.facts import TargetSpec
from imtoolkit.core.seeding import mix
from imtoolkit.data.domains import DOMAINS
from imtoolkit.data.samplers import Plan, group_numbers
from imtoolkit.data.table import Manifest
from imtoolkit.data.unpaired import DomainPlan
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
    return _plan(config, target, training, mix(seed, _ORDER))


def plan_domains(
    config: DataConfig, target: TargetSpec, training: Manifest, seed: int
) -> tuple[DomainPlan, DomainPlan]:
    """Return which training samples of the domains A and B an epoch visits side by side.

    Both have as many visits: those of the longer domain, or ``loader.samples_per_epoch``. The
    shorter domain is walked through again and again, in another order each time, so that each of
    its images comes as often as the others.

    Args:
        config: The section ``data``.
        target: What the task wants of the targets.
        training: The training samples of both domains.
        seed: Seed of the run.

    Raises:
        DataError: As `plan_epochs`.
    """
    domains = np.array(training.column(DOMAIN), dtype=object)
    places = [np.flatnonzero(domains == domain) for domain in DOMAINS]
    visits = config.loader.samples_per_epoch or max(map(len, places))
    plans = []
    for number, own in enumerate(places):
        plan = _plan(config, target, training.take(own), mix(seed, _ORDER, number))
        plans.append(DomainPlan(replace(plan, visits=visits), own))
    return plans[0], plans[1]


def _plan(config: DataConfig, target: TargetSpec, training: Manifest, seed: int) -> Plan:
    groups = None
    if config.loader.balance_by is not None:
        column = resolved_column(config.loader.balance_by, target)
        groups = group_numbers(training.column(column))
    return Plan(
        len(training),
        config.loader.samples_per_epoch,
        weights=_source_weights(config, training),
        groups=groups,
        seed=seed,
    )


def _source_weights(config: DataConfig, training: Manifest) -> np.ndarray | None:
    weights = {name: source.weight for name, source in config.sources.items()}
    if len(set(weights.values())) < 2:
        return None
    return np.array([weights[name] for name in training.column("dataset")], dtype=np.float64)
