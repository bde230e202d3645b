"""Another image for each image: the goal of an enhancement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

from imtoolkit.config.sections import Component, LossTerm
from imtoolkit.core.batch import Batch, Stage
from imtoolkit.core.errors import ConfigError, DataError, Problem
from imtoolkit.core.facts import DataFacts
from imtoolkit.inference.postprocess.base import Array, Makes
from imtoolkit.metrics.suite import MetricSuite

from .base import Goal, as_array, pixel_inputs
from .metrics import build_metrics

METRICS: Final = ("psnr", "ssim", "mae", "pearson")
"""Metrics that are computed where the config names none."""


class ImageGoal(Goal):
    """An image ``(B, C, [Z,] Y, X)`` of any number of channels.

    Args:
        facts: What the data module found.
        channels: Channels of the target image that it reads; ``None`` for all.
        out_channels: Channels of the output; left out, those that it reads.
        complex_channels: Channels are pairs of real and imaginary part; metrics see the magnitude.
        data_range: Smallest and largest value: results are clamped to it, and PSNR and SSIM count
            from it. Complex images are not clamped, since it is the range of their magnitude.
        default_loss: The loss where the config names none; Charbonnier is a smooth L1 (Lai et al.,
            CVPR 2017).
        named: ``name``, ``key`` and ``where`` of a `Goal`.

    Raises:
        ConfigError: If channels or range make no sense.
    """

    main_metric = "psnr"

    def __init__(
        self,
        facts: DataFacts,
        *,
        channels: Sequence[int] | None = None,
        out_channels: int | None = None,
        complex_channels: bool = False,
        data_range: Sequence[float] | None = None,
        default_loss: str = "charbonnier",
        **named: str,
    ) -> None:
        read = facts.target_channels if channels is None else len(channels)
        super().__init__(facts, out_channels or read, **named)
        self.channels = channels
        self.default_loss = default_loss
        self.complex_channels = complex_channels
        self.data_range = None if data_range is None else (data_range[0], data_range[-1])
        problems = self._wrong(data_range)
        if problems:
            raise ConfigError(problems)

    def default_terms(self) -> dict[str, LossTerm]:
        """Return the one default loss."""
        return {self.default_loss: LossTerm(self.default_loss)}

    def target_of(self, batch: Batch) -> Tensor | None:
        """Return the target image ``(B, C, [Z,] Y, X)``."""
        target = super().target_of(batch)
        return target if target is None or self.channels is None else target[:, self.channels]

    def unknown(self, image: Tensor) -> Tensor:
        """See `Goal`."""
        return image.new_zeros(image.shape[0], self.out_channels, *image.shape[2:])

    def first_result(self, raw: Tensor) -> Tensor:
        """Return the image, clamped to its range where that is known."""
        if self.data_range is None or self.complex_channels:
            return raw
        return raw.clamp(*self.data_range)

    def maps(self, raw: Tensor) -> dict[str, Array]:
        """Return each channel by its number, from ``"0"``."""
        return dict(zip(self.map_names, as_array(self.first_result(raw)), strict=True))

    @property
    def map_names(self) -> tuple[str, ...]:
        """Numbers of the channels, from ``"0"``."""
        return tuple(str(number) for number in range(self.out_channels))

    def build_metrics(self, stage: Stage, components: Sequence[Component] | None) -> MetricSuite:
        """See `Goal`."""
        del stage
        chosen = [Component(name) for name in METRICS] if components is None else components
        known = {"data_range": self.data_range, "spatial_dims": self.facts.spatial_dims}
        filled = {key: value for key, value in known.items() if value is not None}
        return MetricSuite(build_metrics(chosen, **filled))

    def measure(
        self, metrics: MetricSuite, raw: Tensor, result: Tensor, batch: Batch
    ) -> dict[str, Any]:
        """See `Goal`; what steps turn into a mask or objects is measured before them.

        Raises:
            DataError: If the target has another number of channels than the result.
        """
        target = self.target_of(batch)
        if target is None:
            return {}
        if self.makes is not Makes.MAP:  # a mask or objects tell nothing of an image
            result = self.first_result(raw)
        if target.shape[1] != result.shape[1]:
            message = (
                f"the target image has {target.shape[1]} channel(s), and the result "
                f"{result.shape[1]}: they are compared channel by channel"
            )
            raise DataError(message)
        if self.complex_channels:
            result, target = magnitude(result), magnitude(target)
        return dict(metrics.rows(result.float(), target.float(), *pixel_inputs(batch))[0])

    def describe(self) -> str:
        """See `Goal`."""
        return f"an image of {self.out_channels} channel(s)"

    def _wrong(self, data_range: Sequence[float] | None) -> list[Problem]:
        problems, most = [], self.facts.target_channels
        if self.complex_channels and self.out_channels % 2:
            message = (
                f"the target images have {self.out_channels} channel(s); complex data have pairs "
                "of real and imaginary part, so an even number"
            )
            problems.append(Problem(message, where=f"{self.where}.complex_channels"))
        if data_range is not None and (len(data_range) != 2 or data_range[0] >= data_range[1]):
            message = f"got {list(data_range)}; expected two numbers, the smaller first: [0, 1]"
            problems.append(Problem(message, where=f"{self.where}.data_range"))
        if self.channels is not None and any(not 0 <= index < most for index in self.channels):
            message = f"got {list(self.channels)}; the target images have {most} channel(s), from 0"
            problems.append(Problem(message, where=f"{self.where}.channels"))
        return problems


def magnitude(image: Tensor) -> Tensor:
    r"""Return :math:`\sqrt{a^2 + b^2}` of channels that are pairs of real and imaginary part.

    Args:
        image: ``(B, 2 C, ...)``: real and imaginary part of the first channel, then of the next.

    Example:
        >>> magnitude(torch.tensor([[3.0, 4.0]])).tolist()
        [[5.0]]
    """
    return torch.hypot(image[:, 0::2], image[:, 1::2])
