"""The contract of a goal, which tasks, trainer and callbacks read.

A task has one goal for each output of its net: one, named ``output``, or one for each head. A goal
takes plain values, knows the data by their facts, and holds no weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
import torch
from torch import Tensor

from imtoolkit.config.sections import Component, LossTerm
from imtoolkit.core.batch import SPACING, TARGET, WEIGHT, Batch, Stage
from imtoolkit.core.errors import ConfigError, Problem
from imtoolkit.core.facts import DataFacts
from imtoolkit.inference.postprocess.base import RESULT, Array, Chain, Makes
from imtoolkit.labels.numbering import relabel
from imtoolkit.metrics.suite import MetricSuite

from .chains import build_chain

OUTPUT: Final = "output"
"""Name of the goal of a task whose net has one output."""

PixelSize = Tensor | Sequence[float] | None
"""Pixel size ``[Z,] Y, X`` of all images of a batch, or ``(B, dims)`` of each; NaN: unknown."""


class Goal(ABC):
    """What one output of a net means.

    Args:
        facts: What the data module found.
        out_channels: Channels of the output.
        name: ``output``, or the name of the head.
        key: Key of the batch under which the truth stands.
        where: Key of the config that describes the goal, for messages.

    Attributes:
        dense: Whether there is a value for each pixel ``(B, K, [Z,] Y, X)``, or for each image
            ``(B, K)``.
        main_metric: Metric by which the best state is chosen, without stage.
        in_pixels: Whether outputs are lengths in pixels, which mean nothing on another grid.
        labels: Whether the truth is class numbers, as losses need to know.
        masks_missing: Whether losses leave out images without the truth.
        classes: Names of the classes, where there are; of channels or numbers otherwise.
        class_weights: Weight of each class in the losses that take weights.
        chain: Steps from the first result to the result; none leaves it as it is.
    """

    dense: ClassVar[bool] = True
    main_metric: ClassVar[str]
    in_pixels: ClassVar[bool] = False

    def __init__(
        self,
        facts: DataFacts,
        out_channels: int,
        *,
        name: str = OUTPUT,
        key: str = TARGET,
        where: str = "task",
    ) -> None:
        self.facts = facts
        self.out_channels = out_channels
        self.name = name
        self.key = key
        self.where = where
        self.classes: tuple[str, ...] = ()
        self.class_weights: Sequence[float] | None = None
        self.labels = False
        self.chain = Chain()
        self.masks_missing = not self.dense or name != OUTPUT

    # --- learning -----------------------------------------------------------------------------

    @property
    def loss_key(self) -> str:
        """Key under which the losses find what is learnt: that of the head, or ``target``."""
        return TARGET if self.name == OUTPUT else self.name

    @abstractmethod
    def default_terms(self) -> dict[str, LossTerm]:
        """Return the terms of the loss where the config names none."""

    def loss_params(self, term: LossTerm) -> dict[str, Any]:
        """Return the parameters of a term, completed by what the goal knows."""
        return dict(term.params)

    def target_of(self, batch: Batch) -> Tensor | None:
        """Return the truth in the user's units; ``None`` where the batch has none."""
        target = batch.get(self.key)
        return target if isinstance(target, Tensor) else None

    def learnt(self, batch: Batch) -> Tensor | None:
        """Return what the losses compare the output with; the truth itself unless scaled."""
        return self.target_of(batch)

    def labelled(self, batch: Batch) -> int:
        """Return for how many images of a batch the truth is known."""
        target = self.target_of(batch)
        if target is None:
            return 0
        weight = batch.get(WEIGHT)  # zero everywhere where an image has no target
        return len(target) if weight is None else int(weight.flatten(1).any(1).sum())

    def unknown(self, image: Tensor) -> Tensor:
        """Return what stands for the truth of images that have none, beside a cost map of zeros."""
        return image.new_zeros(image.shape[0], 1, *image.shape[2:], dtype=torch.long)

    # --- results ------------------------------------------------------------------------------

    @abstractmethod
    def first_result(self, raw: Tensor) -> Tensor:
        """Return what the chain starts from; with the axis of the batch where the output has it."""

    @property
    def first_makes(self) -> Makes:
        """What `first_result` is."""
        return Makes.CLASSES if self.labels else Makes.MAP

    def default_steps(self) -> list[Component]:
        """Return the steps of the chain where the config names none."""
        return []

    def maps(self, raw: Tensor) -> dict[str, Array]:
        """Return what the steps of the chain read by name beside ``result``.

        Args:
            raw: The output for one image ``(K, [Z,] Y, X)``.
        """
        del raw
        return {}

    @property
    def map_names(self) -> tuple[str, ...]:
        """The names of `maps`."""
        return ()

    def use_steps(self, steps: Sequence[Component] | None, where: str) -> None:
        """Choose the steps of the chain.

        Args:
            steps: As the config names them; ``None`` for those of `default_steps`.
            where: Key of the config that names them, for messages.

        Raises:
            ConfigError: If a step cannot be built or does not fit what it reads.
        """
        self.chain = build_chain(self.default_steps() if steps is None else steps, self, where)

    @property
    def known_maps(self) -> dict[str, Makes]:
        """What stands under each name before the first step of the chain."""
        return {**dict.fromkeys(self.map_names, Makes.MAP), RESULT: self.first_makes}

    @property
    def truth_makes(self) -> Makes:
        """What a result is measured against."""
        return self.first_makes

    @property
    def makes(self) -> Makes:
        """What comes out of `postprocess`."""
        return self.makes_of(self.chain)

    def makes_of(self, chain: Chain) -> Makes:
        """Return what a chain makes of the output."""
        return chain.makes(self.first_makes, self.known_maps)

    @property
    def instances(self) -> bool:
        """Whether results are objects, which are shown and written as such."""
        return self.makes is Makes.INSTANCES

    def postprocess(self, raw: Tensor, spacing: PixelSize = None) -> Tensor:
        """Turn an output into the result.

        Args:
            raw: With or without the axis of the batch.
            spacing: Pixel size of the (preprocessed) images.

        Returns:
            What the chain makes, image by image: of masks, classes and objects integers ``([B,]
            [Z,] Y, X)``; objects are numbered from 1 without gaps.
        """
        if not raw.is_floating_point():
            return raw  # the objects of an image that went by blocks
        first = self.first_result(raw)
        if not self.chain.steps:
            return first
        if raw.ndim == self.facts.spatial_dims + 1:
            return self._chained(raw, first, one_size(spacing))
        pairs = enumerate(zip(raw, first, strict=True))
        made = [self._chained(one, begun, one_size(spacing, n)) for n, (one, begun) in pairs]
        return torch.stack(made) if made else first

    def _chained(self, raw: Tensor, first: Tensor, spacing: tuple[float, ...] | None) -> Tensor:
        begun = as_array(first)
        alone = begun.ndim > self.facts.spatial_dims and len(begun) == 1
        values = {**self.maps(raw), RESULT: begun[0] if alone else begun}
        found = self.chain(values, spacing)
        if self.instances:  # steps that remove objects leave gaps in their numbers
            found, _ = relabel(found)
        made = as_tensor(found).to(raw.device)
        is_map = made.is_floating_point() and made.ndim == self.facts.spatial_dims
        return made[None] if is_map else made

    def probabilities(self, raw: Tensor) -> Tensor | None:
        """Return the probability of each class, in the shape of the output; else ``None``."""
        del raw
        return None

    # --- measuring ----------------------------------------------------------------------------

    @abstractmethod
    def build_metrics(self, stage: Stage, components: Sequence[Component] | None) -> MetricSuite:
        """Build the metrics of a stage: those of the config, or the usual ones."""

    @abstractmethod
    def measure(self, metrics: MetricSuite, raw: Tensor, result: Tensor, batch: Batch) -> Any:
        """Return the row of one image, or ``{}`` where there is no truth.

        Args:
            metrics: What `build_metrics` returned.
            raw: The output ``(1, K, ...)``.
            result: What `postprocess` made of it.
            batch: A batch of one.
        """

    # --- shapes -------------------------------------------------------------------------------

    def check_output(self, raw: Tensor, image: Tensor, net: str, *, size: bool = True) -> None:
        """Refuse an output of another shape than the goal needs.

        Args:
            raw: The output.
            image: What the net was given ``(B, C, [Z,] Y, X)``.
            net: Name of the net, for the message.
            size: Whether the spatial size counts as well.

        Raises:
            ConfigError: With the shapes of both sides.
        """
        wanted = (raw.shape[0], self.out_channels, *(image.shape[2:] if self.dense else ()))
        counts = len(wanted) if size else 2
        if raw.ndim == len(wanted) and tuple(raw.shape[:counts]) == wanted[:counts]:
            return
        message = (
            f"net '{net}' returns {list(raw.shape)}{self._of()} for a batch of images "
            f"{list(image.shape)}; {self.describe()} needs {list(wanted)}. {self._remedy(raw)}"
        )
        raise ConfigError(Problem(message, where="task.net"))

    @abstractmethod
    def describe(self) -> str:
        """Say in words what is learnt, such as ``a classification of 3 classes``."""

    def _of(self) -> str:
        return "" if self.name == OUTPUT else f" as '{self.name}'"

    def _remedy(self, raw: Tensor) -> str:
        dims = self.facts.spatial_dims
        if self.dense and raw.ndim != dims + 2:
            return "Take a net with a value for each pixel, such as UNet"
        if not self.dense and raw.ndim != 2:
            return "Take a net with values for the whole image, such as DenseNet121 or resnet18"
        if raw.shape[1] != self.out_channels:
            return (
                f"It has {raw.shape[1]} instead of {self.out_channels} output channels: leave "
                "their number out of its parameters, and it is filled in"
            )
        return (
            "Input and output must have the same spatial shape: check strides and padding, and "
            "data.patch.size"
        )


def pixel_inputs(batch: Mapping[str, Any]) -> tuple[Tensor | None, Tensor | None]:
    """Return cost maps ``(B, [Z,] Y, X)`` and pixel sizes ``(B, dims)`` of a batch, or ``None``."""
    weight = batch.get(WEIGHT)
    return None if weight is None else weight[:, 0], batch.get(SPACING)


def one_size(spacing: PixelSize, index: int = 0) -> tuple[float, ...] | None:
    """Return the pixel size of one image; ``None`` where the file does not tell.

    Example:
        >>> one_size(torch.tensor([[0.5, 0.25], [torch.nan, torch.nan]]))
        (0.5, 0.25)
        >>> one_size((torch.nan, 1.0)) is None, one_size(None) is None
        (True, True)
    """
    if spacing is None:
        return None
    sizes = torch.as_tensor(spacing, dtype=torch.float64)
    own = sizes[min(index, len(sizes) - 1)] if sizes.ndim > 1 else sizes
    return None if bool(own.isnan().any()) else tuple(own.tolist())


def as_array(values: Tensor) -> Array:
    """Return an array on the CPU, of real numbers float32."""
    values = values.detach()
    return (values.float() if values.is_floating_point() else values).cpu().numpy()


def as_tensor(values: Array) -> Tensor:
    """Return a tensor: float32, or integers as torch has them.

    Example:
        >>> import numpy as np
        >>> as_tensor(np.array([True])).dtype, as_tensor(np.array([70_000], np.uint32)).dtype
        (torch.uint8, torch.int32)
    """
    if values.dtype.kind == "f":
        return torch.from_numpy(np.ascontiguousarray(values, np.float32))
    if values.dtype.kind == "b":
        return torch.from_numpy(np.ascontiguousarray(values, np.uint8))
    wide = values.size and int(values.max()) > np.iinfo(np.int32).max
    return torch.from_numpy(np.ascontiguousarray(values, np.int64 if wide else np.int32))


def check_names(names: Sequence[str], weights: Sequence[float] | None, where: str) -> list[Problem]:
    """Return what is wrong with the names and weights of classes."""
    problems = []
    if len(set(names)) < len(names):
        problems.append(Problem(f"got {list(names)}; names must differ", where=f"{where}.classes"))
    if weights is not None and len(weights) != len(names):
        message = f"got {len(weights)} weights for {len(names)} classes"
        problems.append(Problem(message, where=f"{where}.class_weights"))
    return problems
