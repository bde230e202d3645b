"""How much predictions of one image disagree, pixel by pixel, in constant memory.

The members are draws from what a model believes: samples of a probabilistic U-Net, nets with other
dropout masks, nets that were trained apart, predictions of a perturbed image. They are taken one by
one and not kept. Entropies are in nats: of ``K`` classes at most ``ln K``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

_GAUSSIAN: Final = 0.5 * math.log(2 * math.pi * math.e)
_LEAST: Final = 1e-12
"""Least variance of which an entropy is taken: members that agree exactly have none."""


@dataclass(frozen=True)
class UncertaintyMaps:
    """What the members say together, and how much they disagree.

    Attributes:
        mean: Mean of the members: probabilities ``(K, [Z,] Y, X)``, or an image
            ``(C, [Z,] Y, X)``.
        variance: Variance over the members: of the probabilities, averaged over the classes,
            ``([Z,] Y, X)``; of an image for each channel, ``(C, [Z,] Y, X)``.
        entropy: Total uncertainty. Of classes the entropy of the mean; of an image that of a
            Gaussian of this variance, which is below 0 where the deviation is below 0.24.
        mutual_information: The part of the entropy that is disagreement of the members: what is
            left of it after the mean entropy of single members, which is the ambiguity that each of
            them sees. ``None`` for images: a member that says one value for a pixel and no
            distribution has no entropy of its own.
        count: Number of members.
    """

    mean: Tensor
    variance: Tensor
    entropy: Tensor
    mutual_information: Tensor | None
    count: int

    @property
    def named(self) -> dict[str, Tensor]:
        """The maps of uncertainty by name, as far as there are."""
        found = {"variance": self.variance, "entropy": self.entropy}
        if self.mutual_information is not None:
            found["mutual_information"] = self.mutual_information
        return found


class Moments(ABC):
    """Takes members one by one, with the sums of Welford (Technometrics 1962).

    Attributes:
        count: Members so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor | None = None
        self._squares: Tensor | None = None

    def add(self, member: Tensor) -> None:
        """Take a member ``(K, [Z,] Y, X)``.

        Raises:
            ValueError: If it differs in shape from those before.
        """
        value = member.detach().float()
        if self._mean is None or self._squares is None:
            self._mean, self._squares = torch.zeros_like(value), torch.zeros_like(value)
        elif value.shape != self._mean.shape:
            message = f"members differ in shape: {list(self._mean.shape)} and {list(value.shape)}"
            raise ValueError(message)
        self.count += 1
        away = value - self._mean
        self._mean += away / self.count
        self._squares += away * (value - self._mean)

    def maps(self) -> UncertaintyMaps:
        """Return the maps of the members so far.

        Raises:
            ValueError: If there are fewer than two: one says nothing of its uncertainty.
        """
        if self._mean is None or self._squares is None or self.count < 2:
            message = f"got {self.count} member(s); uncertainty is told by two at least"
            raise ValueError(message)
        # of the members, and not of what they were drawn from: the mean predicts as their mixture
        return self._maps(self._mean.clone(), self._squares / self.count)

    @abstractmethod
    def _maps(self, mean: Tensor, variance: Tensor) -> UncertaintyMaps:
        """Return the maps of mean and variance, which the caller does not need any more."""


class ClassMoments(Moments):
    r"""Members that are probabilities of classes that exclude each other, the classes first.

    With :math:`\bar p` the mean of the members :math:`p_s` and :math:`H` the entropy, the maps are
    :math:`H[\bar p]`, of which :math:`\frac{1}{S} \sum_s H[p_s]` is in the data (aleatoric) and the
    rest, the mutual information of prediction and member, in the model (epistemic). Houlsby et al.,
    "Bayesian active learning for classification and preference learning", 2011; Kendall and Gal,
    NeurIPS 2017. Members that are annotators, as samples of a probabilistic U-Net are, disagree
    where the annotators do: there the mutual information is in the data.

    Example:
        >>> moments = ClassMoments()
        >>> moments.add(torch.tensor([1.0, 0.0]))
        >>> moments.add(torch.tensor([0.0, 1.0]))
        >>> maps = moments.maps()
        >>> math.isclose(maps.mutual_information.item(), math.log(2), rel_tol=1e-6)
        True
    """

    def __init__(self) -> None:
        super().__init__()
        self._entropy: Tensor | None = None

    def add(self, member: Tensor) -> None:
        """Take the probabilities of a member ``(K, [Z,] Y, X)``."""
        super().add(member)
        own = entropy_of(member.detach().float())
        if self._entropy is None:
            self._entropy = torch.zeros_like(own)
        self._entropy += (own - self._entropy) / self.count

    def _maps(self, mean: Tensor, variance: Tensor) -> UncertaintyMaps:
        assert self._entropy is not None
        total = entropy_of(mean)
        disagreement = (total - self._entropy).clamp_min(0)  # below 0 by rounding alone
        return UncertaintyMaps(mean, variance.mean(0), total, disagreement, self.count)


class ImageMoments(Moments):
    r"""Members that are images, one value for each pixel.

    The entropy is that of a Gaussian with the variance of the members,
    :math:`\frac{1}{2} \ln(2 \pi e \sigma^2)`, in nats relative to the unit of the image.

    Example:
        >>> moments = ImageMoments()
        >>> moments.add(torch.tensor([0.0]))
        >>> moments.add(torch.tensor([2.0]))
        >>> maps = moments.maps()
        >>> maps.mean.item(), maps.variance.item(), round(maps.entropy.item(), 4)
        (1.0, 1.0, 1.4189)
    """

    def _maps(self, mean: Tensor, variance: Tensor) -> UncertaintyMaps:
        entropy = 0.5 * variance.clamp_min(_LEAST).log() + _GAUSSIAN
        return UncertaintyMaps(mean, variance, entropy, None, self.count)


def entropy_of(probabilities: Tensor, axis: int = 0) -> Tensor:
    """Return the entropy over the classes along an axis, in nats.

    Example:
        >>> entropy_of(torch.tensor([[0.5, 1.0], [0.5, 0.0]])).tolist()
        [0.6931471824645996, 0.0]
    """
    found: Tensor = torch.special.entr(probabilities).sum(axis)
    return found


def uncertainty_of(members: Iterable[Tensor], *, classes: bool) -> UncertaintyMaps:
    """Return the maps of members that are taken one by one.

    Args:
        members: Probabilities of classes ``(K, [Z,] Y, X)``, or images ``(C, [Z,] Y, X)``.
        classes: Which of the two.

    Raises:
        ValueError: If there are fewer than two, or they differ in shape.
    """
    moments: Moments = ClassMoments() if classes else ImageMoments()
    for member in members:
        moments.add(member)
    return moments.maps()
