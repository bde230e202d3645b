"""What makes features of an image, by which sets of images are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imtoolkit.core.errors import ConfigError, Problem, did_you_mean, listed
from imtoolkit.core.facts import DataFacts
from imtoolkit.inference.predict import at, pad_to
from imtoolkit.inference.tiles import plan_tiles
from imtoolkit.metrics.appearance import appearance

if TYPE_CHECKING:
    from .base import Task

Array = NDArray[Any]


class ImageEncoder(Protocol):
    """Makes features of an image."""

    def __call__(self, image: Tensor) -> Array:
        """Return the features ``(K,)`` of an image ``(1, C, [Z,] Y, X)``."""


class LooksEncoder:
    """How an image looks, see `imtoolkit.metrics.appearance`: for where no net is at hand."""

    def __call__(self, image: Tensor) -> Array:
        """See `ImageEncoder`."""
        return appearance(image[0].float().cpu().numpy())


class NetEncoder:
    """The output of a layer of a trained net, averaged over the image.

    Large images are encoded tile by tile, and the features of the tiles averaged.

    Args:
        task: A trained task of any category; its first net is used.
        layer: Name of a layer, as in ``net.named_modules()``; left out, the last one whose maps
            have the lowest resolution.
        where: Key of the config, for messages.

    Raises:
        ConfigError: If there is no such layer, or the net has no maps.
    """

    def __init__(self, task: Task, layer: str | None = None, *, where: str = "task") -> None:
        self.task = task.eval()
        for weight in task.parameters():
            weight.requires_grad_(False)
        self.role = next(iter(task.image_roles or task.nets))
        self.facts = task.facts_of(self.role)
        self.net = task.nets[self.role]
        self.layer = self._checked(layer, where)

    def __call__(self, image: Tensor) -> Array:
        """See `ImageEncoder`."""
        self.task.to(image.device)
        shape = tuple(image.shape[2:])
        tile = self.task.tiling.tile_for(shape, self.role)
        padded = pad_to(image.float(), [max(a, b) for a, b in zip(shape, tile, strict=True)])
        parts = plan_tiles(tuple(padded.shape[2:]), tile, 0.0)
        with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
            each = np.stack([self._of_tile(padded[at(*part)]) for part in parts])
        found: Array = each.mean(0, dtype=np.float64)
        return found.astype(np.float32)

    def _of_tile(self, tile: Tensor) -> Array:
        outputs = self._outputs(tile, [self.layer])
        return averaged(outputs[self.layer], self.facts.spatial_dims)[0].float().cpu().numpy()

    def _outputs(self, image: Tensor, names: list[str]) -> dict[str, Tensor]:
        """Return what layers make of an image, in the order in which they do."""
        found: dict[str, Tensor] = {}

        def keep(name: str, output: Any) -> None:
            if isinstance(output, Tensor):
                found[name] = output

        layers = dict(self.net.named_modules())
        hooks = [
            layers[name].register_forward_hook(
                lambda module, inputs, output, name=name: keep(name, output)
            )
            for name in names
        ]
        try:
            self.net(image)
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def _checked(self, layer: str | None, where: str) -> str:
        names = [name for name, _ in self.net.named_modules() if name]
        if layer is not None and layer not in names:
            message = (
                f"the net {type(self.net).__name__} has no layer '{layer}'."
                f"{did_you_mean(layer, names)} It has {listed(names, 30)}"
            )
            raise ConfigError(Problem(message, where=f"{where}.layer"))
        return layer if layer is not None else self._deepest(names, where)

    def _deepest(self, names: list[str], where: str) -> str:
        dims = self.facts.spatial_dims
        size = self.task.tiling.fitting((64,) * dims, self.role)
        if self.facts.patch_size is not None:
            size = tuple(self.facts.patch_size)
        weight = next(self.net.parameters())
        image = torch.zeros((1, self.facts.in_channels, *size), device=weight.device)
        with torch.no_grad():
            outputs = self._outputs(image, names)
        maps = {name: map_ for name, map_ in outputs.items() if map_.ndim == dims + 2}
        if not maps:
            message = (
                f"the net {type(self.net).__name__} makes no maps of an image: name the layer "
                f"whose output is to be taken: {listed(names, 30)}"
            )
            raise ConfigError(Problem(message, where=f"{where}.layer"))
        least = min(map_[0, 0].numel() for map_ in maps.values())
        return [name for name, map_ in maps.items() if map_[0, 0].numel() == least][-1]


def averaged(features: Tensor, spatial_dims: int) -> Tensor:
    """Return features ``(B, K)``: maps averaged over pixels, words ``(B, N, K)`` over words.

    Example:
        >>> averaged(torch.ones(1, 3, 2, 2), 2).tolist(), averaged(torch.ones(1, 9, 2), 2).tolist()
        ([[1.0, 1.0, 1.0]], [[1.0, 1.0]])
    """
    if features.ndim == spatial_dims + 2:
        return features.flatten(2).mean(2)
    return features.mean(1) if features.ndim == 3 else features.flatten(1)


def check_encoder(encoder: NetEncoder, facts: DataFacts, domain: str) -> None:
    """Refuse an encoder that was trained on other images than those of a domain.

    Args:
        encoder: The encoder.
        facts: What the data module found of the images of the domain.
        domain: ``a`` or ``b``, for the message.

    Raises:
        ConfigError: With the channels and dimensions of both.
    """
    kinds = [(f.in_channels, f.spatial_dims) for f in (encoder.facts, facts)]
    if kinds[0] == kinds[1]:
        return
    ours, theirs = [f"{channels} channel(s) in {dims}D" for channels, dims in kinds]
    message = (
        f"the run was trained on images of {ours}, and those of domain {domain.upper()} have "
        f"{theirs}. "
        "Name a run that was trained on images of this domain, or leave it out"
    )
    raise ConfigError(Problem(message, where=f"task.encoders.{domain}.run"))
