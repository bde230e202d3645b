"""Translated images that are kept for a while, so that a discriminator also sees older ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """Keeps up to ``size`` images; hands out new ones and kept ones alike.

    Shrivastava et al., "Learning from simulated and unsupervised images through adversarial
    training", CVPR 2017, as used by CycleGAN: until the pool is full, each image is kept and handed
    out as it is. Then, with a chance of one half, an image is handed out as it is, and otherwise
    takes the place of a kept one, drawn at random, which is handed out in its stead.

    Draws come from torch's generator of the CPU, which a task seeds at each step.

    Args:
        size: Number of images; 0 keeps none.

    Example:
        >>> pool = ImagePool(1)
        >>> float(pool(torch.zeros(1, 1)))
        0.0
        >>> [float(pool(torch.ones(1, 1))) for _ in range(50)].count(0.0)  # handed out once
        1
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def __call__(self, made: Tensor) -> Tensor:
        """Return as many images as there are in a batch ``(B, C, [Z,] Y, X)``, without graph."""
        made = made.detach()
        if self.size == 0:
            return made
        return torch.stack([self._exchanged(image) for image in made])

    def _exchanged(self, image: Tensor) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(image.clone())
            return image
        if float(torch.rand(())) < 0.5:
            return image
        place = int(torch.randint(self.size, ()))
        kept = self.images[place].to(image)
        self.images[place] = image.clone()
        return kept

    def state(self) -> list[Any]:
        """Return the images, on the CPU, for a checkpoint."""
        return [image.cpu() for image in self.images]

    def restore(self, images: list[Any]) -> None:
        """Take up what `state` returned; a pool that became smaller keeps the first ones."""
        self.images = list(images)[: self.size]
