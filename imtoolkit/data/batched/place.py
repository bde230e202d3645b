"""Where the random transforms of a config run: on batches on the device, or patch by patch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.transforms import Transform

from imtoolkit.config.sections import AugmentOn, DataConfig
from imtoolkit.core.errors import ConfigError, Problem
from imtoolkit.data.batched.stages import has_batched_form, interpolates
from imtoolkit.data.transforms.build import build_augment, build_degrade, moves_pixels


def on_device(config: DataConfig, *, gpu: bool, workers: int, instances: bool = False) -> bool:
    """Decide whether training batches are changed as a whole, after their transfer.

    ``auto`` does so on a GPU if all transforms have a batched form, and on a CPU where there are no
    workers and pixels are interpolated: a batch is then shared by the threads. With ``degrade``, it
    leaves all to the workers. So it does where objects move: each sample's objects are looked at
    afterwards, and boundaries, distances and centres are made of them.

    Args:
        config: The section ``data``.
        gpu: Whether the net trains on a GPU.
        workers: Loading workers, which could do it beside the training.
        instances: Whether the task learns objects.

    Raises:
        ConfigError: If ``augment_on: device`` is asked for, and a transform has no batched form or
            moves objects.
    """
    if config.augment_on is AugmentOn.worker:
        return False
    augment, degrade = build_augment(config.augment), build_degrade(config.degrade)
    if config.augment_on is AugmentOn.device:
        if instances:
            _require_still(config.augment, augment)
        require_batched_forms(config.augment, augment, "data.augment")
        require_batched_forms(config.degrade, degrade, "data.degrade")
        return bool(augment or degrade)
    if degrade or not augment or not all(map(has_batched_form, augment)):
        return False
    if instances and any(map(moves_pixels, augment)):
        return False
    return gpu or (workers == 0 and any(map(interpolates, augment)))


def _require_still(components: Sequence[Any], built: Sequence[Transform]) -> None:
    problems = [
        Problem(
            f"transform '{component.name}' moves objects, and what the task learns of each (its "
            "boundary, its centre) is made after it, in the workers. Set data.augment_on: worker "
            "(or auto)",
            f"data.augment.{place}",
        )
        for place, (component, transform) in enumerate(zip(components, built, strict=True))
        if moves_pixels(transform)
    ]
    if problems:
        raise ConfigError(problems)


def require_batched_forms(
    components: Sequence[Any], built: Sequence[Transform], where: str
) -> None:
    """Refuse transforms that work on single samples only.

    Args:
        components: What the config lists.
        built: What was built of it.
        where: Key of the list.

    Raises:
        ConfigError: Naming each of them.
    """
    problems = [
        Problem(
            f"transform '{component.name}' works on single samples and cannot change whole batches "
            "on the device. Set data.augment_on: worker (or auto), or take one of imtoolkit's own "
            "(see `imtoolkit components transform`)",
            f"{where}.{place}",
        )
        for place, (component, transform) in enumerate(zip(components, built, strict=True))
        if not has_batched_form(transform)
    ]
    if problems:
        raise ConfigError(problems)
