"""What the losses between two images share: checked shapes, complex channels, and cost maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from .forms import divisor, mean_over


class ImageLoss(nn.Module, ABC):
    """A loss between two images, computed in float32, also under autocast.

    A class writes `compare`. Where the cost map is 0 it gets the target for the prediction, so
    that such pixels have no gradient and, in losses that look at neighbours, count as right.

    Args:
        complex_channels: Channels are pairs of real and imaginary part, one pair after the other;
            their magnitudes are compared instead of each channel by itself.
    """

    of_labels: ClassVar[bool] = False
    """Whether it compares with class numbers."""
    of_pixels: ClassVar[bool] = True
    """Whether it looks at pixels, so that numbers of whole images are nothing for it."""

    def __init__(self, *, complex_channels: bool = False) -> None:
        super().__init__()
        self.complex_channels = complex_channels

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """See the class.

        Raises:
            ValueError: If shapes do not belong together, or channels are no pairs.
        """
        with torch.autocast(prediction.device.type, enabled=False):
            prediction, target = prepared_pair(prediction, target)
            if weight is not None:
                prediction, target, weight = without_ignored(prediction, target, weight)
            if self.complex_channels:
                prediction, target = magnitude(prediction), magnitude(target)
            return self.compare(prediction, target, weight)

    @abstractmethod
    def compare(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        """Return the loss as a scalar.

        Args:
            prediction: Float32 ``(B, C, [Z,] Y, X)``.
            target: The same.
            weight: Float32 ``(B, 1, [Z,] Y, X)``, or ``None``.
        """


def prepared_pair(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in float32, after comparing their shapes.

    Numbers for whole images may come as ``(B,)`` for a prediction ``(B, 1)``.

    Raises:
        ValueError: If the shapes differ.
    """
    if prediction.ndim == 2 and target.ndim == 1:
        target = target[:, None]
    if prediction.shape != target.shape:
        message = (
            f"got a target of {tuple(target.shape)} for a prediction of "
            f"{tuple(prediction.shape)}; expected equal shapes. Set 'channels' or "
            "'resize_target' of the loss where the data hold more than is learnt"
        )
        raise ValueError(message)
    return prediction.float(), target.float()


def without_ignored(
    prediction: Tensor, target: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the pair with the target in place of the prediction where the weight is 0.

    Raises:
        ValueError: If the cost map does not fit.
    """
    expected = (prediction.shape[0], 1, *prediction.shape[2:])
    if tuple(weight.shape) != expected:
        message = f"got a weight of {tuple(weight.shape)}; expected {expected}"
        raise ValueError(message)
    weight = weight.float()
    counts = weight > 0
    target = torch.where(counts, target, target.nan_to_num())  # what is not known may be NaN
    return torch.where(counts, prediction, target), target, weight


def as_complex(image: Tensor) -> Tensor:
    """Return ``(B, 2 C, ...)`` of real and imaginary parts as complex numbers ``(B, C, ...)``.

    Raises:
        ValueError: If the number of channels is odd.
    """
    if image.shape[1] % 2:
        message = (
            f"got {image.shape[1]} channel(s); expected pairs of real and imaginary part, so an "
            "even number"
        )
        raise ValueError(message)
    return torch.complex(image[:, ::2].contiguous(), image[:, 1::2].contiguous())


def magnitude(image: Tensor) -> Tensor:
    """Return the magnitude ``(B, C, ...)`` of pairs of channels ``(B, 2 C, ...)``.

    Example:
        >>> magnitude(torch.tensor([[3.0, 4.0]])).tolist()
        [[5.0]]
    """
    return as_complex(image).abs()  # its gradient at 0 is 0, and not NaN


def mean_of(each: Tensor, weight: Tensor | None) -> Tensor:
    """Return the mean over all entries, weighted by a cost map ``(B, 1, ...)``."""
    return each.mean() if weight is None else mean_over(each, weight.expand_as(each))


def mean_of_images(each: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the weighted mean of each image ``(B,)``, and 1 for those that have any weight."""
    if weight is None:
        return each.flatten(1).mean(1), each.new_ones(len(each))
    counts = weight.expand_as(each).flatten(1)
    sums = counts.sum(1)
    means = (each.flatten(1) * counts).sum(1) / divisor(sums)
    return means, (sums > 0).to(each.dtype)


def slices(image: Tensor) -> Tensor:
    """Return ``(B, C, Z, Y, X)`` as images ``(B Z, C, Y, X)``; 2D images stay as they are."""
    return image if image.ndim == 4 else image.movedim(2, 1).flatten(0, 1)


def range_of(target: Tensor, data_range: float | None) -> Tensor:
    """Return the range of values: as given, or from smallest to largest of a batch of targets.

    A batch of one value has no range; 1 stands for it.
    """
    if data_range is not None:
        return target.new_tensor(data_range)
    found = target.detach().amax() - target.detach().amin()
    return torch.where(found > 0, found, torch.ones_like(found))


def check_range(data_range: float | None) -> float | None:
    """Return a range of values.

    Raises:
        ValueError: If it is not positive.
    """
    if data_range is not None and not data_range > 0:
        message = f"got the data_range {data_range}; expected largest minus smallest value, above 0"
        raise ValueError(message)
    return data_range


def check_choice(name: str, chosen: str, known: tuple[str, ...]) -> str:
    """Return a choice.

    Raises:
        ValueError: If it is none of the known ones.
    """
    if chosen not in known:
        message = f"got {name} '{chosen}'; expected {' or '.join(known)}"
        raise ValueError(message)
    return chosen
