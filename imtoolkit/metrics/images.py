"""How near a predicted image is to its target: errors, PSNR, correlation.

Images are ``(C, [Z,] Y, X)``; each channel is measured by itself, and the name alone is the mean
over channels. Pixels whose cost map is 0 do not count.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from .base import Array, Better, ImageMetric, SetMetric, mean_of_defined
from .regression import MeanAbsoluteError, PearsonCorrelation, RootMeanSquaredError


class ChannelMetric(ImageMetric):
    """A measure of each channel of an image.

    Args:
        channels: Names of the channels; left out, their numbers.
        spatial_dims: 2 or 3; an image of as many axes is one channel.
    """

    def __init__(self, *, channels: Sequence[str] = (), spatial_dims: int = 2) -> None:
        self.channels = tuple(channels)
        self.spatial_dims = spatial_dims

    def __call__(
        self,
        prediction: Array,
        target: Array,
        *,
        weight: Array | None = None,
        spacing: Sequence[float] | None = None,
    ) -> dict[str, float]:
        """See `ImageMetric`."""
        del spacing  # values have no unit of length
        if prediction.shape != target.shape:
            message = f"got shapes {prediction.shape} and {target.shape}; expected equal"
            raise ValueError(message)
        if target.ndim not in (self.spatial_dims, self.spatial_dims + 1):
            letters = "Z, Y, X" if self.spatial_dims == 3 else "Y, X"
            message = f"got an image {target.shape}; expected axes ({letters}) or (C, {letters})"
            raise ValueError(message)
        shape = (-1, *target.shape[-self.spatial_dims :])
        ours = prediction.astype(np.float64).reshape(shape)
        theirs = target.astype(np.float64).reshape(shape)
        kept = None if weight is None else weight.reshape(shape[1:]) > 0
        values = [self.of(one, other, kept) for one, other in zip(ours, theirs, strict=True)]
        if len(values) == 1:
            return {self.name: values[0]}
        names = self.channels or tuple(str(index) for index in range(len(values)))
        parts = {f"{self.name}/{name}": one for name, one in zip(names, values, strict=True)}
        return {self.name: mean_of_defined(values), **parts}

    @abstractmethod
    def of(self, prediction: Array, target: Array, kept: Array | None) -> float:
        """Return the value of one channel, float64 ``([Z,] Y, X)``.

        Args:
            prediction: The predicted channel.
            target: Same shape.
            kept: Which pixels count; ``None`` for all.
        """


class ErrorMetric(ChannelMetric):
    """A measure of pixels that numbers of whole images have as well.

    Args:
        channels: Names of the channels; left out, their numbers.
        columns: Names of the numbers, where whole images have several.
        spatial_dims: 2 or 3; an image of as many axes is one channel.
    """

    def __init__(
        self,
        *,
        channels: Sequence[str] = (),
        columns: Sequence[str] = (),
        spatial_dims: int = 2,
    ) -> None:
        super().__init__(channels=channels, spatial_dims=spatial_dims)
        self.columns = tuple(columns)

    @abstractmethod
    def of_numbers(self) -> SetMetric:
        """Return the same measure of numbers of whole images."""


class MaeMetric(ErrorMetric):
    """Mean absolute error over the pixels; of numbers for whole images, over the images.

    Args:
        channels: Names of the channels; left out, their numbers.
        columns: Names of the numbers, where whole images have several.
        spatial_dims: 2 or 3; an image of as many axes is one channel.
    """

    name = "mae"
    better: Better = "min"

    def of(self, prediction: Array, target: Array, kept: Array | None) -> float:
        """See `ChannelMetric`."""
        ours, theirs = counted(prediction, target, kept)
        return float(np.abs(ours - theirs).mean()) if theirs.size else math.nan

    def of_numbers(self) -> SetMetric:
        """See `ErrorMetric`."""
        return MeanAbsoluteError(self.columns)


class RmseMetric(ErrorMetric):
    """Root of the mean squared error over the pixels; of numbers for whole images, over the images.

    Args:
        channels: Names of the channels; left out, their numbers.
        columns: Names of the numbers, where whole images have several.
        spatial_dims: 2 or 3; an image of as many axes is one channel.
    """

    name = "rmse"
    better: Better = "min"

    def of(self, prediction: Array, target: Array, kept: Array | None) -> float:
        """See `ChannelMetric`."""
        return math.sqrt(mean_squared_error(prediction, target, kept))

    def of_numbers(self) -> SetMetric:
        """See `ErrorMetric`."""
        return RootMeanSquaredError(self.columns)


class PearsonMetric(ErrorMetric):
    """Pearson's correlation over the pixels; of numbers for whole images, over the images.

    Args:
        channels: Names of the channels; left out, their numbers.
        columns: Names of the numbers, where whole images have several.
        spatial_dims: 2 or 3; an image of as many axes is one channel.
    """

    name = "pearson"
    better: Better = "max"

    def of(self, prediction: Array, target: Array, kept: Array | None) -> float:
        """See `ChannelMetric`; NaN for an image of one value."""
        ours, theirs = counted(prediction, target, kept)
        if ours.size < 2:
            return math.nan
        return float(PearsonCorrelation()(ours[:, None], theirs[:, None])["pearson"])

    def of_numbers(self) -> SetMetric:
        """See `ErrorMetric`."""
        return PearsonCorrelation(self.columns)


class RangedMetric(ChannelMetric):
    """A measure that counts from the range of the values.

    Args:
        data_range: Range of the values, as their distance or as ``[smallest, largest]``; left out,
            that of each target.
        channels: Names of the channels; left out, their numbers.
        spatial_dims: 2 or 3; an image of as many axes is one channel.
    """

    def __init__(
        self,
        data_range: float | Sequence[float] | None = None,
        *,
        channels: Sequence[str] = (),
        spatial_dims: int = 2,
    ) -> None:
        super().__init__(channels=channels, spatial_dims=spatial_dims)
        self.data_range = span_of(data_range)

    def span(self, target: Array, kept: Array | None) -> float:
        """Return the range that counts for a target; NaN where it has no pixel."""
        return span_in(target, kept) if self.data_range is None else self.data_range


class PsnrMetric(RangedMetric):
    r"""Peak signal-to-noise ratio :math:`10 \log_{10}(R^2 / MSE)` in decibel.

    :math:`R` is the range of the values. Left out it is that of each target, which makes images
    comparable whose brightness differs; published numbers on 8-bit images have a fixed one (255, or
    1 where images were divided by it).

    Args:
        data_range: Range of the values, as their distance or as ``[smallest, largest]``.
        channels: Names of the channels; left out, their numbers.
        spatial_dims: 2 or 3; an image of as many axes is one channel.

    Example:
        >>> found = PsnrMetric(data_range=1.0)(np.full((8, 8), 0.6), np.full((8, 8), 0.5))
        >>> round(found["psnr"], 6)
        20.0
    """

    name = "psnr"

    def of(self, prediction: Array, target: Array, kept: Array | None) -> float:
        """See `ChannelMetric`; NaN where the range is 0, infinite where there is no error."""
        span = self.span(target, kept)
        error = mean_squared_error(prediction, target, kept)
        if math.isnan(error) or not span > 0:
            return math.nan
        return 10 * math.log10(span**2 / error) if error else math.inf


class AffinePsnrMetric(PsnrMetric):
    """PSNR after the gain and the offset of the prediction are fitted to the target.

    Least squares for each image and channel: for data whose targets were taken with another gain,
    exposure or background than the images (widefield against SIM, W2S), where plain PSNR measures
    brightness more than detail. It forgives errors of brightness: report it beside the plain one.

    Args:
        data_range: Range of the values, as their distance or as ``[smallest, largest]``.
        channels: Names of the channels; left out, their numbers.
        spatial_dims: 2 or 3; an image of as many axes is one channel.
    """

    name = "affine_psnr"

    def of(self, prediction: Array, target: Array, kept: Array | None) -> float:
        """See `ChannelMetric`."""
        return super().of(fitted(prediction, target, kept), target, kept)


def fitted(prediction: Array, target: Array, kept: Array | None = None) -> Array:
    """Return ``gain * prediction + offset`` that is nearest to the target in the squared error.

    Args:
        prediction: Any shape.
        target: Same shape.
        kept: Which pixels count; ``None`` for all.

    Example:
        >>> fitted(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 50.0])).tolist()
        [10.0, 30.0, 50.0]
    """
    ours, theirs = counted(prediction, target, kept)
    if not ours.size:
        return prediction
    centred = ours - ours.mean()
    spread = float(centred @ centred)
    gain = float(centred @ (theirs - theirs.mean())) / spread if spread else 0.0
    matched: Array = gain * (prediction - ours.mean()) + theirs.mean()
    return matched


def counted(prediction: Array, target: Array, kept: Array | None) -> tuple[Array, Array]:
    """Return the pixels that count, in one axis."""
    if kept is None:
        return prediction.ravel(), target.ravel()
    return prediction[kept], target[kept]


def mean_squared_error(prediction: Array, target: Array, kept: Array | None) -> float:
    """Return the mean squared error of the pixels that count; NaN where there are none."""
    ours, theirs = counted(prediction, target, kept)
    return float(((ours - theirs) ** 2).mean()) if theirs.size else math.nan


def span_of(data_range: float | Sequence[float] | None) -> float | None:
    """Return the distance from the smallest to the largest value.

    Raises:
        ValueError: If it is not above 0.

    Example:
        >>> span_of([-1, 1]), span_of(255), span_of(None)
        (2.0, 255.0, None)
    """
    if data_range is None:
        return None
    if isinstance(data_range, (int, float)):
        span = float(data_range)
    else:
        low, high = data_range
        span = float(high) - float(low)
    if not span > 0:
        message = f"got a data range of {data_range}; expected one above 0, or [smallest, largest]"
        raise ValueError(message)
    return span


def span_in(target: Array, kept: Array | None) -> float:
    """Return the range of the pixels of a target that count; NaN where there are none."""
    values = target if kept is None else target[kept]
    return float(values.max() - values.min()) if values.size else math.nan
