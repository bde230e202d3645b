"""Which tile an image is predicted in, and whether the nets of a task can take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from imtoolkit.config.sections import InferenceConfig
from imtoolkit.core.batch import TABULAR
from imtoolkit.core.errors import ConfigError, Problem, listed
from imtoolkit.core.facts import DataFacts
from imtoolkit.nets.inputs import inputs_of
from imtoolkit.nets.sizes import SizeProbe, check_size


class Tiling:
    """The tile for each image, as configured or as the nets need it.

    Args:
        nets: Nets by role.
        facts: For each of them what the data module found of the images that it is given: the
            patch size is the tile unless the config sets one.
        inference: The section ``inference``.
    """

    def __init__(
        self,
        nets: Mapping[str, nn.Module],
        facts: Mapping[str, DataFacts],
        inference: InferenceConfig,
    ) -> None:
        self._names = {role: type(net).__name__ for role, net in nets.items()}
        self._probes = {
            role: SizeProbe(
                net,
                facts[role].in_channels,
                facts[role].spatial_dims,
                {TABULAR: len(facts[role].tabular)},
            )
            for role, net in nets.items()
        }
        self._dims = next(iter(facts.values())).spatial_dims
        self._patches = {role: own.patch_size for role, own in facts.items()}
        self._tile = inference.tile

    def check(self) -> None:
        """Refuse a patch or a tile that a net cannot take.

        Raises:
            ConfigError: With sizes that fit.
        """
        for role, patch in self._patches.items():
            for where, size in (("data.patch.size", patch), ("inference.tile", self._tile)):
                if size is not None:
                    self._check(role, tuple(size), where)

    def tile_for(self, shape: Sequence[int], role: str | None = None) -> tuple[int, ...]:
        """Return the tile: as configured, else the patch, else the whole image, padded to fit.

        Args:
            shape: Spatial shape of the image.
            role: Whose sizes count; the first role when left out.

        Raises:
            ConfigError: If the net takes no size near that of the image.
        """
        first = role or next(iter(self._probes))
        chosen = self._tile or self._patches[first]
        if chosen is not None:
            return tuple(chosen)
        rounded = self._probes[first].rounded_up(shape)
        if rounded is None:
            self._check(first, tuple(shape), "inference.tile")
        return rounded or tuple(shape)

    def fitting(self, shape: Sequence[int], role: str | None = None) -> tuple[int, ...]:
        """Return the least size that covers an image and that the net takes, else that size."""
        first = role or next(iter(self._probes))
        return self._probes[first].rounded_up(shape) or tuple(shape)

    def trial(self, role: str | None = None) -> tuple[Any, tuple[int, ...]] | None:
        """Return what a net makes of two images, as shapes alone, and the size of the images.

        The images are patches, or small ones where there are no patches; ``None`` where the net
        takes none of them, or cannot be asked on shapes alone.
        """
        first = role or next(iter(self._probes))
        probe = self._probes[first]
        size = self._patches[first] or probe.rounded_up((32,) * self._dims)
        if size is None:
            return None
        try:
            return probe.output(size), tuple(size)
        except Exception:  # noqa: BLE001 - `check` tells in which sizes the net can be used
            return None

    def _check(self, role: str, size: tuple[int, ...], where: str) -> None:
        if len(size) != self._dims:
            message = (
                f"got {list(size)}; expected {self._dims} numbers, since the images are "
                f"{self._dims}D"
            )
            raise ConfigError(Problem(message, where=where))
        check_size(self._probes[role], size, name=self._names[role], where=where)


def check_inputs(net: nn.Module, facts: DataFacts, *, where: str) -> None:
    """Refuse a net that wants tabular columns of data without any, and one that ignores them.

    Args:
        net: The net; its attribute ``inputs`` names what it takes beside the image.
        facts: What the data module found.
        where: Key of the net in the config.

    Raises:
        ConfigError: With what to change.
    """
    name, takes = type(net).__name__, TABULAR in inputs_of(net)
    if takes and not facts.tabular:
        message = (
            f"net '{name}' takes tabular columns, and the data have none: list them under "
            "data.tabular, or take a net of images alone (tabular: false)"
        )
        raise ConfigError(Problem(message, where=where))
    if facts.tabular and not takes:
        message = (
            f"net '{name}' takes images alone and would ignore the {len(facts.tabular)} tabular "
            f"feature(s) {listed(list(facts.tabular))}: leave data.tabular out, or take a net that "
            "joins them in, such as composed with the head {name: global_pool, params: {tabular: "
            f"true}}}} (one of your own names '{TABULAR}' among its inputs)"
        )
        raise ConfigError(Problem(message, where="data.tabular"))
