"""Objects by spatial embeddings: the goal of EmbedSeg."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from imtoolkit.config.sections import Component, LossTerm
from imtoolkit.core import registry
from imtoolkit.core.batch import CENTRE_OFFSETS, Batch
from imtoolkit.core.errors import ConfigError, Problem
from imtoolkit.core.facts import DataFacts
from imtoolkit.inference.postprocess.base import Array
from imtoolkit.losses.embedseg import as_embedding

from .base import as_array
from .objects import ObjectsGoal

OFFSETS: Final = "offsets"
SCALES: Final = "scales"
SEEDS: Final = "seeds"
_KNOWN_PACKAGES: Final = ("imtoolkit", "monai", "torch")


class EmbedSegGoal(ObjectsGoal):
    """Offsets, scales and seeds ``(B, dims + n_sigma + 1, [Z,] Y, X)``; the truth is objects.

    The truth is ``(B, 1, [Z,] Y, X)``, with the offsets to the centres under `CENTRE_OFFSETS`; the
    result is objects too, clustered by the chain ``cluster_embeddings`` unless the config has
    another.

    Args:
        facts: What the data module found.
        n_sigma: Scales of an object, 1 or one for each axis; left out, one for each axis.
        anisotropy: Size of pixels relative to that along X; left out, as the files tell, or 1.
        object_radius: Usual radius of an object in pixels of X.
        grid: Longest offset in pixels of X.
        named: ``name``, ``key`` and ``where`` of a `Goal`.

    Raises:
        ConfigError: If one of these makes no sense.
    """

    in_pixels = True

    def __init__(
        self,
        facts: DataFacts,
        *,
        n_sigma: int | None = None,
        anisotropy: Sequence[float] | None = None,
        object_radius: float = 10.0,
        grid: float = 1024.0,
        **named: str,
    ) -> None:
        dims = facts.spatial_dims
        self.n_sigma = dims if n_sigma is None else n_sigma
        super().__init__(facts, dims + self.n_sigma + 1, **named)
        self.anisotropy = tuple(anisotropy) if anisotropy else _of_spacing(facts)
        self.object_radius = object_radius
        self.grid = grid
        problems = self._wrong()
        if problems:
            raise ConfigError(problems)

    # --- learning -----------------------------------------------------------------------------

    def default_terms(self) -> dict[str, LossTerm]:
        """Return the loss of spatial embeddings."""
        return {"embedding": LossTerm("embedseg")}

    def loss_params(self, term: LossTerm) -> dict[str, Any]:
        """See `Goal`; the size of pixels is filled in.

        Raises:
            ConfigError: If the loss is one of ours, MONAI's or torch's for something else.
        """
        made = registry.resolve("loss", term.name)
        if getattr(made, "of_embeddings", False):
            return {"anisotropy": list(self.anisotropy), **term.params}
        if made.__module__.partition(".")[0] in _KNOWN_PACKAGES:
            message = f"loss '{term.name}' knows nothing of embeddings: take embedseg"
            raise ConfigError(Problem(message, where=f"{self.where}.losses"))
        return dict(term.params)

    def embedding(self, raw: Tensor) -> Tensor:
        """Turn what a net returns into offsets, logarithms of scales, and seeds."""
        return as_embedding(
            raw,
            self.facts.spatial_dims,
            radius=self.object_radius,
            grid=self.grid,
            anisotropy=self.anisotropy,
        )

    def learnt(self, batch: Batch) -> Tensor | None:
        """Return objects, and the offsets to their centres: ``(B, 1 + dims, [Z,] Y, X)``."""
        target, offsets = self.target_of(batch), batch.get(CENTRE_OFFSETS)
        if target is None or offsets is None:
            return target
        return torch.cat((_small(target).to(offsets.dtype), offsets), dim=1)

    # --- results ------------------------------------------------------------------------------

    def first_result(self, raw: Tensor) -> Tensor:
        """Return the embedding as it is."""
        return raw

    def default_steps(self) -> list[Component]:
        """Return the clustering."""
        return [Component("cluster_embeddings")]

    def maps(self, raw: Tensor) -> dict[str, Array]:
        """Return ``offsets`` and ``scales`` in pixels ``(n, [Z,] Y, X)``, and ``seeds``."""
        values, dims = as_array(raw), self.facts.spatial_dims
        scales = np.exp(values[dims:-1])
        if set(self.anisotropy) != {1.0}:
            scales = scales / np.reshape(self.anisotropy, (-1, *[1] * dims)).astype(np.float32)
        return {OFFSETS: values[:dims], SCALES: scales, SEEDS: values[-1]}

    @property
    def map_names(self) -> tuple[str, ...]:
        """The names of `maps`."""
        return (OFFSETS, SCALES, SEEDS)

    def describe(self) -> str:
        """See `Goal`."""
        return "an instance segmentation by embeddings"

    def _wrong(self) -> list[Problem]:
        dims, problems = self.facts.spatial_dims, []
        if self.n_sigma not in (1, dims):
            message = f"got {self.n_sigma}; expected 1, or {dims}: one for each axis of the images"
            problems.append(Problem(message, where=f"{self.where}.n_sigma"))
        if len(self.anisotropy) != dims or min(self.anisotropy) <= 0:
            letters = ", ".join("ZYX"[-dims:])
            message = (
                f"got {list(self.anisotropy)}; expected a positive number for each of {letters}"
            )
            problems.append(Problem(message, where=f"{self.where}.anisotropy"))
        return problems


def _small(target: Tensor) -> Tensor:
    """Return objects with numbers that float32 holds; 0 stays background."""
    if int(target.max()) < 1 << 24:
        return target
    numbers, small = torch.unique(target, return_inverse=True)
    numbered: Tensor = small + int(numbers[0] > 0)
    return numbered


def _of_spacing(facts: DataFacts) -> tuple[float, ...]:
    """Return the size of pixels relative to that along X, 1 where the files do not tell."""
    if facts.spacing is None:
        return (1.0,) * facts.spatial_dims
    return tuple(round(size / facts.spacing[-1], 6) for size in facts.spacing)
