"""Two domains of images that do not belong together: which images are of which, and how read.

A task that translates between domains (`TargetSpec.unpaired`) tells them by the column ``domain``.
What the config says of targets (``target_axes``, ``target_channels``) holds for the images of
domain B; a sample with a target is a true pair of A and B, to measure with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pyarrow as pa

from imtoolkit.config.sections import DataConfig
from imtoolkit.core.batch import DOMAIN, TARGET
from imtoolkit.core.errors import ConfigError, DataError, Problem, listed
from imtoolkit.core.facts import TargetSpec
from imtoolkit.data.table import SPLITS, Manifest

DOMAINS: Final = ("A", "B")
"""Values of the column ``domain``."""


def domain_of(row: Mapping[str, Any], target: TargetSpec) -> str | None:
    """Return the domain of a sample, for a task that knows domains."""
    return str(row[DOMAIN]) if target.unpaired else None


def of_domain(config: DataConfig, domain: str | None) -> DataConfig:
    """Return the section ``data`` as it holds for the images of a domain.

    Images of domain B have the axes and channels that the config gives for targets; without
    ``target_axes`` they have the axes of domain A.

    Example:
        >>> config = DataConfig(sources={}, axes="YX", target_axes="YXC")
        >>> of_domain(config, "A").axes, of_domain(config, "B").axes
        ('YX', 'YXC')
    """
    if domain != "B":
        return config
    axes = config.target_axes or config.axes
    return replace(config, axes=axes, channels=config.target_channels)


def with_domains(manifest: Manifest, target: TargetSpec) -> Manifest:
    """Check that each sample is of a domain; a sample with a target is of A.

    Args:
        manifest: All samples, before they are divided.
        target: What the task wants.

    Raises:
        DataError: If samples are of no domain, or of one that is neither A nor B.
    """
    if not target.unpaired:
        return manifest
    count = len(manifest)
    known = manifest.column(DOMAIN) if DOMAIN in manifest.columns else [None] * count
    paired = [cell is not None for cell in manifest.column(TARGET)]
    domains = [
        "A" if is_pair and not name else name for name, is_pair in zip(known, paired, strict=True)
    ]
    ids = manifest.column("id")
    odd = sorted({str(name) for name in domains if name and name not in DOMAINS})
    if odd:
        message = f"the column '{DOMAIN}' holds {listed(odd)}; expected A or B"
        raise DataError(Problem(message, "data.sources"))
    rows = list(zip(ids, domains, paired, strict=True))
    turned = [name for name, domain, is_pair in rows if is_pair and domain != "A"]
    if turned:
        message = (
            f"{len(turned)} samples of domain B have a target, such as {listed(turned, 3)}. In a "
            "pair to measure with, the image is of A and the target of B: exchange them"
        )
        raise DataError(Problem(message, "data.sources"))
    lacking = [name for name, domain, _ in rows if not domain]
    if lacking:
        message = (
            f"{len(lacking)} of {count} images are of no domain, such as {listed(lacking, 3)}. "
            "Translation between domains learns from two sets of images: take {name: unpaired, "
            "params: {root: ..., a: FOLDER, b: FOLDER}}, or a table with the column 'domain'"
        )
        raise DataError(Problem(message, "data.sources"))
    return manifest.with_column(DOMAIN, pa.array(domains, pa.string()))


def require_domains(manifest: Manifest, target: TargetSpec) -> None:
    """Check that both domains have training images, and none of these a target.

    Args:
        manifest: All samples, divided.
        target: What the task wants.

    Raises:
        DataError: With how to mend it.
    """
    if not target.unpaired:
        return
    training = manifest.select("train")
    pairs = [
        name
        for name, cell in zip(training.column("id"), training.column(TARGET), strict=True)
        if cell is not None
    ]
    if pairs:
        message = (
            f"{len(pairs)} training samples are pairs of image and target, such as "
            f"{listed(pairs, 3)}. Where images come in pairs, learn from the pairs: category "
            "pix2pix or enhancement. To learn as if nothing were paired, name the two folders: "
            "{name: unpaired, params: {root: ..., a: FOLDER, b: FOLDER}}. To measure with the "
            "pairs, give their source the role val or test"
        )
        raise DataError(Problem(message, "data.sources"))
    counts = domain_counts(manifest).get("train")
    if counts is None:  # images that are only measured
        return
    empty = [domain for domain in DOMAINS if not counts.get(domain)]
    if empty:
        total = {name: manifest.column(DOMAIN).count(name) for name in DOMAINS}
        message = (
            f"domain {listed(empty)} has no training images; there are {total['A']} images of A "
            f"and {total['B']} of B in all. Give more of them, or fewer to validation and test "
            "(data.split)"
        )
        raise DataError(Problem(message, "data.split"))


def refuse_degrade(config: DataConfig, target: TargetSpec) -> None:
    """Refuse ``data.degrade``, which makes pairs, for a task that learns without pairs.

    Raises:
        ConfigError: If it is given.
    """
    if target.unpaired and config.degrade:
        message = (
            "makes pairs of a clean and a degraded image, and this task learns without pairs. "
            "Move the transforms to data.augment, or take the category enhancement or pix2pix"
        )
        raise ConfigError(Problem(message, "data.degrade"))


def domain_counts(manifest: Manifest) -> dict[str, dict[str, int]]:
    """Return the number of images of each domain by split."""
    splits = np.array(manifest.column("split"), dtype=object)
    domains = np.array(manifest.column(DOMAIN), dtype=object)
    found = {
        split: {name: int(((splits == split) & (domains == name)).sum()) for name in DOMAINS}
        for split in SPLITS
    }
    return {split: counts for split, counts in found.items() if any(counts.values())}
