"""Which image sizes a net can take, found by running it on shapes alone.

A copy of the net on torch's meta device computes shapes and no numbers, in milliseconds, so that
the question is answered for every net, not only for those in a table.
"""

from __future__ import annotations

import bisect
import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from imtoolkit.core.batch import TABULAR
from imtoolkit.core.errors import ConfigError, Problem

from .inputs import inputs_of, tabular_width
from .outputs import Raw, main_output

_FACTORS: Final = (1, 2, 4, 8, 16, 32, 64, 6, 12, 24, 48, 96, 7, 14, 28, 56, 112, 224, 128, 256)
META_WORDS: Final = re.compile(r"\bmeta\b", re.IGNORECASE)
"""In the message of a net that looks at its values, and so cannot be run on shapes alone."""
_SMALL: Final = 64
LARGEST: Final = 1024
"""Side of the largest images that `least_size` tries."""
Size = tuple[int, ...]


class SizeProbe:
    """Tells which spatial sizes a net takes.

    Args:
        net: The net; it is copied and not changed.
        in_channels: Channels of its input.
        spatial_dims: 2 or 3.
        widths: Numbers for each image that it is given beside the image, by the names that its
            attribute ``inputs`` has for them; other inputs than the image are further images.
        keeps_size: Whether a dense output must have the size of the image.

    Example:
        >>> from monai.networks.nets import UNet
        >>> net = UNet(2, 1, 2, channels=(4, 8, 16), strides=(2, 2))
        >>> probe = SizeProbe(net, in_channels=1, spatial_dims=2)
        >>> probe.fits((64, 60)), probe.fits((64, 62))
        (True, False)
        >>> probe.rounded_up((62, 50))
        (64, 52)
    """

    def __init__(
        self,
        net: nn.Module,
        in_channels: int,
        spatial_dims: int,
        widths: Mapping[str, int] | None = None,
        *,
        keeps_size: bool = True,
    ) -> None:
        self._net = copy.deepcopy(net).to("meta").train()
        self._widths = {TABULAR: tabular_width(net), **(widths or {})}
        self._keeps_size = keeps_size
        self._in_channels = in_channels
        self._dims = spatial_dims
        self._seen: dict[Size, str | None] = {}
        self._rounded: dict[Size, Size] = {}

    def fits(self, size: Sequence[int]) -> bool:
        """Tell whether the net takes this spatial size and returns the same."""
        return self.complaint(size) is None

    def complaint(self, size: Sequence[int]) -> str | None:
        """Return what is wrong with a size in the net's own words, or ``None``."""
        key = tuple(size)
        if key not in self._seen:
            self._seen[key] = self._try(key)
        return self._seen[key]

    def rounded_up(self, size: Sequence[int]) -> Size | None:
        """Return the smallest size found that the net takes and that covers ``size``."""
        key = tuple(size)
        if key not in self._rounded:
            found = next((up for up in self._multiples(key, up=True) if self.fits(up)), None)
            if found is None:
                return None
            self._rounded[key] = self._trimmed(key, found)
        return self._rounded[key]

    def near(self, size: Sequence[int]) -> list[Size]:
        """Return sizes that fit: the nearest below and above."""
        key = tuple(size)
        below = [down for down in self._multiples(key, up=False) if min(down) and self.fits(down)]
        above = self.rounded_up(key)
        largest = [max(below, key=sum)] if below else []
        return largest + ([above] if above is not None else [])

    def output(self, size: Sequence[int]) -> Raw:
        """Return what the net makes of two images of a size, as shapes without numbers.

        Raises:
            Exception: Whatever the net raises where it takes no such images.
        """
        given = []
        for key in inputs_of(self._net):
            shape = (self._widths[key],) if key in self._widths else (self._in_channels, *size)
            given.append(torch.empty((2, *shape), device="meta"))
        with torch.no_grad():
            return main_output(self._net(*given), self._net, self._dims)

    def is_image_level(self, size: Size) -> bool:
        """Tell whether the net gives numbers for a whole image, or features for a head."""
        output = self.output(size)
        return not self._keeps_size or (isinstance(output, Tensor) and output.ndim == 2)

    def _multiples(self, size: Size, *, up: bool) -> Iterable[Size]:
        for factor in _FACTORS:
            yield _multiple(size, (factor,) * len(size), up=up)
        if up:  # nets for one square size only
            yield from (
                (side,) * len(size) for side in (64, 96, 128, 224, 256) if side >= max(size)
            )

    def _trimmed(self, size: Size, found: Size) -> Size:
        """Take axis by axis the least padding that still fits."""
        best = found
        for axis, side in enumerate(size):
            for factor in _FACTORS:
                length = -(-side // factor) * factor
                candidate = (*best[:axis], length, *best[axis + 1 :])
                if length < best[axis] and self.fits(candidate):
                    best = candidate
        return best

    def _try(self, size: Size) -> str | None:
        try:
            output = self.output(size)
        except Exception as error:  # noqa: BLE001 - nets refuse a size with whatever error they like
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            # a net that looks at its values, as by `.item()`, cannot be asked on shapes alone
            return None if META_WORDS.search(reason) else reason
        if not self._keeps_size or not isinstance(output, Tensor) or output.ndim != self._dims + 2:
            return None  # several outputs, or one number for an image: not for this check to judge
        if tuple(output.shape[2:]) != size:
            return f"it returns {list(output.shape[2:])} for an image of {list(size)}"
        return None


def least_size(net: nn.Module, in_channels: int, spatial_dims: int) -> Size | None:
    """Return the least size, axis by axis, of images that a net can be given in training.

    Of a net that makes its input smaller and smaller, such as a discriminator: every larger size
    is taken as well. ``None`` where none is found, or the net cannot be asked on shapes alone.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 1, 4, 2, 1), nn.Conv2d(1, 1, 3))
        >>> least_size(net, 1, 2)
        (6, 6)
    """
    copied = copy.deepcopy(net).to("meta").train()

    def fits(size: Sequence[int]) -> bool:
        try:
            with torch.no_grad():
                copied(torch.empty((1, in_channels, *size), device="meta"))
        except Exception:  # noqa: BLE001 - nets refuse a size with whatever error they like
            return False
        return True

    large = next((s for s in (64, 256, LARGEST) if fits((s,) * spatial_dims)), None)
    if large is None:
        return None
    found = [large] * spatial_dims
    for axis in range(spatial_dims):
        # the other axes large, since a norm may need several pixels in all
        sizes = [[*[large] * axis, side, *[large] * (spatial_dims - axis - 1)]
                 for side in range(1, large)]  # fmt: skip
        found[axis] = 1 + bisect.bisect_left(sizes, True, key=fits)
    while not fits(found):
        found = [min(side + 1, large) for side in found]
    return tuple(found)


def check_size(probe: SizeProbe, size: Sequence[int], *, name: str, where: str) -> None:
    """Refuse a patch or tile that the net cannot take.

    Args:
        probe: See `SizeProbe`.
        size: Spatial size ``([Z,] Y, X)``.
        name: Name of the net, for the message.
        where: Key of the config that gives the size.

    Raises:
        ConfigError: With sizes that fit.
    """
    complaint = probe.complaint(size)
    if complaint is None:
        return
    if "Sizes that fit" in complaint:  # a net of windows knows better than a search
        raise ConfigError(Problem(f"net '{name}' {complaint}", where=where))
    fitting = [str(list(good)) for good in probe.near(size)]
    remedy = (
        f"Sizes that fit: {' or '.join(fitting)}"
        if fitting
        else "No size near it fits: check the parameters of the net (strides, depth, dimensions)"
    )
    # torch's own words ("Sizes of tensors must match ...") only where nothing better is known
    reason = "" if fitting else f" ({complaint})"
    if fitting and max(size) <= _SMALL and probe.is_image_level(probe.near(size)[0]):
        remedy += ". For small images there is 'resnet', whose stem keeps their size"
    message = f"net '{name}' cannot take images of {list(size)}{reason}. {remedy}"
    raise ConfigError(Problem(message, where=where))


def _multiple(size: Size, factors: Sequence[int], *, up: bool) -> Size:
    pairs = zip(size, factors, strict=True)
    return tuple((-(-side // n) if up else side // n) * n for side, n in pairs)
