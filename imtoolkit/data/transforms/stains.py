"""Colour deconvolution of histology images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch

from imtoolkit.data.transforms.base import ImageTransform

# optical density of each stain in red, green and blue: Ruifrok and Johnston, "Quantification of
# histochemical staining by color deconvolution", Anal. Quant. Cytol. Histol. 23 (2001), table 1
_DENSITY: Final = {
    "hematoxylin": (0.650, 0.704, 0.286),
    "eosin": (0.072, 0.990, 0.105),
    "dab": (0.268, 0.570, 0.776),
}


class StainSeparation(ImageTransform):
    """Turn an RGB image of stained tissue into the amount of each stain (optical density).

    Args:
        stains: Stains to keep, in this order: ``hematoxylin``, ``eosin``, ``dab``. Two or three of
            them.
        white: Value of unstained glass in the image, 255 for 8-bit images, 1.0 for normalised ones.

    Example:
        >>> glass = torch.full((3, 1, 1), 255.0)
        >>> StainSeparation()({"image": glass})["image"].shape
        torch.Size([2, 1, 1])
    """

    def __init__(
        self, stains: Sequence[str] = ("hematoxylin", "eosin"), white: float = 255.0
    ) -> None:
        super().__init__()
        unknown = [stain for stain in stains if stain not in _DENSITY]
        if unknown or not 2 <= len(set(stains)) == len(stains):
            message = f"got stains={list(stains)}; expected two or three of {list(_DENSITY)}"
            raise ValueError(message)
        rows = [torch.tensor(_DENSITY[stain]) for stain in stains]
        if len(rows) == 2:  # what neither stain explains goes into their cross product
            rows.append(torch.linalg.cross(rows[0], rows[1]))
        basis = torch.stack([row / row.norm() for row in rows])
        self.unmix = torch.linalg.inv(basis)  # (3 colours, 3 stains)
        self.count, self.white = len(stains), white

    def change(self, image: torch.Tensor) -> torch.Tensor:
        """Separate one image ``(3, [Z,] Y, X)`` into ``(stains, [Z,] Y, X)``."""
        if image.shape[0] != 3:
            message = f"stain_separation: got {image.shape[0]} channels; expected the 3 of RGB"
            raise ValueError(message)
        density = -torch.log10((image / self.white).clamp(1e-6, 1.0))
        amounts = torch.einsum("c...,cs->s...", density, self.unmix)
        return amounts[: self.count].clamp(min=0)
