"""The facts that the data tell the task, from what was seen of the images and from the table."""

from __future__ import annotations

import logging
from typing import Any

from imtoolkit.config.sections import DataConfig
from imtoolkit.core.batch import DOMAIN, TARGET
from imtoolkit.core.errors import DataError, listed
from imtoolkit.core.facts import DataFacts, TargetKind, TargetSpec
from imtoolkit.data.columns import class_samples, column_targets, encode, mean_and_std
from imtoolkit.data.domains import domain_counts
from imtoolkit.data.fingerprint import fingerprint
from imtoolkit.data.references import split_channels
from imtoolkit.data.summary import Summary, UnpairedSummary
from imtoolkit.data.table import Manifest
from imtoolkit.data.tabular import TabularEncoder
from imtoolkit.data.wanted import PIXELS

log = logging.getLogger(__name__)


def gather_facts(
    config: DataConfig,
    target: TargetSpec,
    manifest: Manifest,
    summary: Summary,
    tabular: TabularEncoder,
    steps: int,
) -> DataFacts:
    """Return what the data tell the task.

    Args:
        config: The data section.
        target: What the task wants of the targets.
        manifest: All samples, with their splits.
        summary: What was seen of their images.
        tabular: Encodes the columns that join the image.
        steps: Training batches of an epoch on one rank.

    Raises:
        DataError: If the patch has other dimensions than the images.
    """
    if isinstance(summary, UnpairedSummary):
        return _of_domains(config, manifest, summary, tabular, steps)
    dims = next(iter(summary.dims))
    channels = next(iter(summary.channels))
    classes = len(target.classes) if target.kind is TargetKind.LABELS else 0
    made = channels if config.degrade else 1
    columns = [name for wanted in column_targets(target) for name in wanted.columns]
    found = summary.objects.objects
    used = {*columns, *(column.column for column in config.tabular)} - {TARGET}
    return DataFacts(
        spatial_dims=dims,
        in_channels=channels,
        target_channels=next(iter(summary.target_channels), made),
        patch_size=_patch_size(config, summary, dims),
        spacing=summary.median_spacing(dims),
        spacing_unit=summary.units.most_common(1)[0][0] if summary.units else None,
        samples=manifest.counts(),
        steps_per_epoch=steps,
        class_pixels=summary.class_fractions(classes),
        fingerprint=fingerprint(manifest, sorted(used)),
        objects={split: found[split] for split in manifest.counts() if split in found},
        image_files=max(map(len, map(split_channels, manifest.column("image")))),
        tabular=tabular.names,
        tabular_mean=tabular.mean,
        tabular_std=tabular.std,
        **_of_targets(manifest.select("train"), target, made_here=bool(config.degrade)),
    )


def _of_domains(
    config: DataConfig,
    manifest: Manifest,
    summary: UnpairedSummary,
    tabular: TabularEncoder,
    steps: int,
) -> DataFacts:
    """Return what two domains tell; of a domain that is not at hand, what the other tells."""
    other = summary.other
    dims = next(iter(summary.dims or other.dims))
    return DataFacts(
        spatial_dims=dims,
        in_channels=next(iter(summary.channels or other.channels)),
        target_channels=next(iter(other.channels or summary.channels)),
        patch_size=_patch_size(config, summary, dims),
        target_patch_size=_patch_size(config, other, dims),
        spacing=summary.median_spacing(dims),
        spacing_unit=summary.units.most_common(1)[0][0] if summary.units else None,
        samples=manifest.counts(),
        domain_samples=domain_counts(manifest),
        steps_per_epoch=steps,
        fingerprint=fingerprint(manifest, [DOMAIN]),
        image_files=max(map(len, map(split_channels, manifest.column("image")))),
        tabular=tabular.names,
        tabular_mean=tabular.mean,
        tabular_std=tabular.std,
    )


def fit_tabular(config: DataConfig, manifest: Manifest) -> TabularEncoder:
    """Return the encoder of ``data.tabular``, standardised by the training samples.

    Raises:
        DataError: With everything in the columns that cannot be encoded, in any split.
    """
    if not config.tabular:
        return TabularEncoder(())
    TabularEncoder(tuple(config.tabular), (0.0,), (1.0,))(manifest.table)  # all problems at once
    return TabularEncoder.fitted(config.tabular, manifest.select("train").table)


def _patch_size(config: DataConfig, summary: Summary, dims: int) -> tuple[int, ...] | None:
    size = tuple(config.patch.size) if config.patch.size else None
    if size is not None and len(size) != dims:
        message = (
            f"data.patch.size {list(size)} has {len(size)} numbers, but the images have {dims} "
            "dimensions; give one for each of [Z,] Y, X, or set data.axes"
        )
        raise DataError(message)
    if size is None and len(summary.shapes) == 1:
        return next(iter(summary.shapes))
    several = len(summary.shapes) > 1 and config.loader.batch_size > 1
    if size is None and several and not _resized_later(config):
        shown = [" x ".join(map(str, shape)) for shape in summary.shapes]
        message = (
            f"training images are of several sizes ({listed(shown, 4)}), and those of a batch must "
            "be of one: set data.patch.size to cut patches, or data.loader.batch_size: 1"
        )
        raise DataError(message)
    return size


def _resized_later(config: DataConfig) -> bool:
    """Tell whether a random transform may bring images to one size."""
    # behind a dotted path there may be anything
    words = ("crop", "pad", "resize", "sized", "zoom", "spatial", ".")
    return any(word in step.name.lower() for step in config.augment for word in words)


def _of_targets(training: Manifest, target: TargetSpec, *, made_here: bool) -> dict[str, Any]:
    """Count and measure the targets of the training samples, column by column."""
    counts: dict[str, tuple[int, ...]] = {}
    means: dict[str, tuple[float, ...]] = {}
    deviations: dict[str, tuple[float, ...]] = {}
    missing: dict[str, int] = {}
    if target.kind in PIXELS and not made_here:
        missing[TARGET] = training.table.column(TARGET).null_count
    for wanted in column_targets(target):
        encoded = encode(training, wanted)
        missing[wanted.key] = int(encoded.missing.sum())
        if wanted.kind is TargetKind.NUMBER:
            means[wanted.key], deviations[wanted.key] = mean_and_std(encoded.values)
        else:
            counts[wanted.key] = class_samples(encoded, wanted)
    _tell(training, missing, target)
    return {
        "class_samples": counts,
        "number_mean": means,
        "number_std": deviations,
        "missing": {key: count for key, count in missing.items() if count},
    }


def _tell(training: Manifest, missing: dict[str, int], target: TargetSpec) -> None:
    count = len(training)
    for key, lacking in missing.items():
        # images alone are all that some tasks learn from
        if not lacking or (key == TARGET and target.kind in PIXELS and lacking == count):
            continue
        log.warning(
            "%d of %d training samples have no label for '%s': they count for nothing in its loss",
            lacking,
            count,
            key,
        )


def warn_of_images(summary: Summary, size: tuple[int, ...] | None) -> None:
    """Log what the user should know of the images, though training can go on."""
    for warning in summary.told(size):
        log.warning(warning)
    if size is None:
        return
    count, names = summary.smaller_than(size)
    if count:
        log.warning(
            "%d training images are smaller than patch.size %s, such as %s: they are padded",
            count,
            list(size),
            listed(names),
        )
