"""A step that is for the images of one of two domains alone."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import Transform

from imtoolkit.core.batch import DOMAIN
from imtoolkit.data.transforms.base import Sample


class ForDomain(Transform):  # type: ignore[misc]
    """Apply a transform to the images of one domain, and leave those of the other as they are.

    For translation between unpaired domains, where for example only the stained sections are to be
    brought to a range by ``{name: normalize_range, params: {low: 0, high: 255}}``.

    Args:
        domain: ``A`` or ``B``.
        transform: What is applied.

    Example:
        >>> import torch
        >>> from imtoolkit.data.transforms.intensity import NormalizeRange
        >>> halve = ForDomain("B", NormalizeRange(0, 2))
        >>> image = torch.ones(1, 1, 1)
        >>> float(halve({"image": image, "domain": "A"})["image"])
        1.0
        >>> float(halve({"image": image, "domain": "B"})["image"])
        0.5
    """

    def __init__(self, domain: str, transform: Transform) -> None:
        if domain not in ("A", "B"):
            message = f"got domain={domain!r}; expected A or B"
            raise ValueError(message)
        if not isinstance(transform, Transform):
            message = (
                f"got transform={transform!r}; expected one with its parameters, such as {{name: "
                "normalize_zscore, params: {}}"
            )
            raise ValueError(message)
        self.domain, self.transform = domain, transform

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        """Return the sample, changed where it is of the domain."""
        if data.get(DOMAIN) != self.domain:
            return dict(data)
        changed: Sample = self.transform(dict(data))
        return changed
