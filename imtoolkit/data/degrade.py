"""``data.degrade``: the input is made out of a clean image, which becomes the target.

The order in training is: cut the patch, augment it, keep it as the target, degrade the image. So
noise is neither turned nor interpolated, and every transform of ``augment`` may stand beside it:
what brightens the image brightens its target alike. Values are never cut off afterwards.

A training patch is degraded anew at each visit. A whole image, as validation and test see it, is
degraded always in the same way: by the seed of the run and the id of the sample, whatever split it
is in. Nothing is degraded at prediction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform

from imtoolkit.config import plugins as plugin_modules
from imtoolkit.config.sections import DataConfig
from imtoolkit.core.batch import ID, IMAGE, TARGET
from imtoolkit.core.errors import ConfigError, DataError, Problem, listed
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.core.seeding import mix
from imtoolkit.data.randomised import apply_random
from imtoolkit.data.references import is_reference
from imtoolkit.data.table import Manifest
from imtoolkit.data.transforms.base import Sample
from imtoolkit.data.transforms.build import build_degrade, share_random_state

WHERE = "data.degrade"
_WHOLE = 3  # what a seed is for; 1 and 2 are the order of samples and the workers


class Degrade:
    """Makes image and target out of a clean image.

    Transforms are built at first use in each process, so that it pickles.

    Args:
        components: The section ``data.degrade``; empty leaves samples as they are.
        seed: Seed of the run.
        plugins: The trusted plugins that transforms may come from.
    """

    def __init__(
        self, components: Sequence[Any] = (), *, seed: int = 0, plugins: Sequence[str] = ()
    ) -> None:
        self.components, self.seed, self.plugins = tuple(components), seed, tuple(plugins)
        self._built: tuple[list[Transform], np.random.RandomState] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_built": None}

    def __bool__(self) -> bool:
        return bool(self.components)

    def with_components(self, components: Sequence[Any]) -> Degrade:
        """Return one that does the same with other transforms."""
        return Degrade(components, seed=self.seed, plugins=self.plugins)

    def patch(self, sample: Sample, seed: int) -> Sample:
        """Degrade a training patch.

        Args:
            sample: A patch, augmented; its image is clean.
            seed: A function of (seed, epoch, sample, patch).

        Raises:
            DataError: If a transform fails, or changes the size of the image.
        """
        if not self.components:
            return sample
        transforms, state = self._transforms()
        state.seed(seed)
        clean = sample[IMAGE]
        if isinstance(clean, torch.Tensor):  # arrays are views, which are copied before a change
            clean = clean.clone()
        # without its target, so that no transform can touch it
        degraded = apply_random(_untargeted(sample), transforms, state, WHERE)
        _require_size(sample, degraded)
        degraded[TARGET] = clean
        return degraded

    def whole(self, sample: Sample) -> Sample:
        """Degrade a whole image, each time in the same way."""
        return self.patch(sample, mix(self.seed, _WHOLE, number_of(str(sample[ID]))))

    def _transforms(self) -> tuple[list[Transform], np.random.RandomState]:
        if self._built is None:
            plugin_modules.load(list(self.plugins))
            state = np.random.RandomState(0)
            transforms = build_degrade(self.components)
            share_random_state(transforms, state)
            self._built = transforms, state
        return self._built


def number_of(name: str) -> int:
    """Return a number of 63 bits that a text always has, in every process and on every machine.

    Example:
        >>> number_of("a") == number_of("a"), number_of("a") == number_of("b")
        (True, False)
    """
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") >> 1


def read_spec(config: DataConfig, target: TargetSpec) -> TargetSpec:
    """Return what is to be read of the targets: no images where they are made by ``degrade``.

    Raises:
        ConfigError: If the task learns no image.
    """
    if not config.degrade:
        return target
    if target.kind is not TargetKind.IMAGE:
        message = (
            f"makes pairs of images for a task that learns images, but this one learns "
            f"{target.kind.value}. Move the transforms to data.augment, or choose the category "
            "enhancement"
        )
        raise ConfigError(Problem(message, WHERE))
    return TargetSpec(TargetKind.NONE, more=target.more, optional=target.optional)


def refuse_targets(manifest: Manifest) -> None:
    """Refuse samples whose targets are images: the clean image itself is the target.

    Raises:
        ConfigError: If there are some.
    """
    ids, cells = manifest.column("id"), manifest.column(TARGET)
    found = [
        name
        for name, cell in zip(ids, cells, strict=True)
        if cell is not None and is_reference(cell)
    ]
    if found:
        message = (
            f"makes the input out of the image, which is then the target, but {len(found)} samples "
            f"have a target of their own, such as {listed(found, 3)}. Leave out the 'target' of "
            "the source, or leave out data.degrade"
        )
        raise ConfigError(Problem(message, WHERE))


def _untargeted(sample: Sample) -> Sample:
    return {key: value for key, value in sample.items() if key != TARGET}


def _require_size(sample: Sample, degraded: Sample) -> None:
    clean, made = tuple(sample[IMAGE].shape), tuple(degraded[IMAGE].shape)
    if clean != made:
        message = (
            f"sample '{sample.get(ID)}': {WHERE} made an image of shape {made} out of {clean}: the "
            "input and its target must be of one size"
        )
        raise DataError(message)
