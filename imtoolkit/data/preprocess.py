"""The deterministic part of the way from a file to the net, and the way back for predictions.

`Preprocessor` is the one place that applies ``data.preprocess``: to training samples before they
are cached, and to a single image at prediction. What it did to the pixel grid is kept in an `Undo`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, Transform
from monai.transforms.utils import convert_applied_interp_mode, reset_ops_id

from imtoolkit.config import plugins as plugin_modules
from imtoolkit.config.sections import DataConfig
from imtoolkit.core.batch import DOMAIN, IMAGE, SPACING, TARGET, WEIGHT
from imtoolkit.core.errors import DataError, ImtoolkitError
from imtoolkit.core.facts import TargetKind
from imtoolkit.data.loading import Loaded, meta_affine, reverse_columns, spacing_of
from imtoolkit.data.transforms.base import is_labels, like, plain
from imtoolkit.data.transforms.build import allow_missing_keys, build_preprocess, pads
from imtoolkit.data.transforms.domain import ForDomain
from imtoolkit.data.transforms.enlarge import Enlarge, finer_affine
from imtoolkit.io.picture import Picture
from imtoolkit.labels import relabel, separated

_BIG_LABEL = 2**31 - 1
_EXACT = 2**24
"""Up to here float32 holds every whole number; resampling passes through it."""


@dataclass(frozen=True)
class Prepared:
    """A sample after preprocessing, as plain tensors.

    Attributes:
        image: Float32 ``(C, [Z,] Y, X)``.
        target: Labels or image ``(C, [Z,] Y, X)``; ``None`` where there is none.
        weight: Cost map, float32 ``(1, [Z,] Y, X)``.
        spacing: Pixel size ``[Z,] Y, X`` after preprocessing; ``None`` where the file did not tell.
        unit: Unit of ``spacing``.
        affine: Affine ``(4, 4)`` after preprocessing as NIfTI means it, where the file has one.
        undo: The way back to the original grid.
    """

    image: torch.Tensor
    target: torch.Tensor | None
    weight: torch.Tensor | None
    spacing: tuple[float, ...] | None
    unit: str | None
    affine: np.ndarray | None
    undo: Undo


@dataclass(frozen=True)
class Undo:
    """The way back from the preprocessed grid to that of the file.

    Where the image was enlarged for super-resolution, the way ends at the enlarged grid.

    Attributes:
        shape: Spatial shape of the prediction: that of the file's image, enlarged perhaps.
        affine: Affine of the preprocessed image, in the order of its axes.
        operations: What MONAI traced.
        steps: The transforms that can be undone, in the order in which they were applied.
        spacing: Pixel size ``[Z,] Y, X`` of the prediction; ``None`` where the file does not tell.
        world: Affine ``(4, 4)`` of the prediction as NIfTI means it, where the file has one.
        prepared_spacing: Pixel size of the preprocessed image; ``None`` where it is not known.
    """

    shape: tuple[int, ...]
    affine: np.ndarray
    operations: list[Any] = field(repr=False)
    steps: list[Transform] = field(repr=False)
    spacing: tuple[float, ...] | None = None
    world: np.ndarray | None = None
    prepared_spacing: tuple[float, ...] | None = None

    @property
    def changes(self) -> list[str]:
        """Names of the transforms that changed the grid, such as ``SpatialResample``."""
        return [str(operation["class"]) for operation in self.operations]

    def invert(self, prediction: Any, *, labels: bool | None = None) -> torch.Tensor:
        """Bring a prediction to the grid of the file.

        Args:
            prediction: Labels, probabilities or an image on the preprocessed grid, ``(K, [Z,] Y,
                X)``.
            labels: Take the nearest value instead of interpolating; left out, integers are labels.

        Returns:
            A plain tensor ``(K, *shape)`` of the same dtype.

        Raises:
            DataError: If a preprocessing step changed the grid and cannot be undone.
        """
        values = plain(prediction)
        nearest = not torch.is_floating_point(values) if labels is None else labels
        operations = copy.deepcopy(self.operations)
        if nearest:
            operations = convert_applied_interp_mode(operations, mode="nearest")
        whole = torch.is_floating_point(values)
        # MONAI resamples floats only; labels below 2**24 pass through float32 unharmed
        exact = torch.float32 if whole or int(values.max()) < _EXACT else torch.float64
        moved = MetaTensor(
            values if whole else values.to(exact),
            affine=torch.as_tensor(self.affine),
            applied_operations=operations,
        )
        sample: dict[Any, Any] = {IMAGE: moved}
        for step in reversed(self.steps):
            sample = step.inverse(sample)
        out = plain(sample[IMAGE])
        if tuple(out.shape[1:]) != self.shape:
            message = (
                f"the prediction of shape {tuple(out.shape[1:])} cannot be brought back to the "
                f"image's {self.shape}: a step of data.preprocess changes the pixel grid and "
                "cannot be undone. Use one that MONAI can invert, such as pad_to_multiple or "
                "resample_spacing"
            )
            raise DataError(message)
        return out if whole else out.round().to(values.dtype)


class Preprocessor:
    """Applies ``data.preprocess``; needs no training data.

    Transforms are built at first use in each process, so that a preprocessor pickles.

    Args:
        config: Section ``data`` of the config.
        plugins: The trusted plugins that its transforms may come from.

    Example:
        >>> from imtoolkit.config.sections import Component
        >>> steps = [Component("pad_to_multiple", {"multiple": 8})]
        >>> preprocessor = Preprocessor(DataConfig(sources={}, preprocess=steps))
        >>> picture = Picture(np.ones((1, 5, 5), np.uint8), None, None, None, ("0",), "CYX")
        >>> image, undo = preprocessor.image(picture)
        >>> image.shape, undo.invert(image).shape
        (torch.Size([1, 8, 8]), torch.Size([1, 5, 5]))
    """

    def __init__(self, config: DataConfig, plugins: Sequence[str] = ()) -> None:
        self.config = config
        self.plugins = tuple(plugins)
        self._built: dict[bool, list[Transform]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_built": {}}

    def steps(self, *, target: bool = True) -> list[Transform]:
        """Return the transforms, built once for samples with a target and once for those without.

        Raises:
            ComponentError: If one cannot be built, or is random.
        """
        if target not in self._built:
            plugin_modules.load(list(self.plugins))
            built = build_preprocess(self.config.preprocess)
            if not target:
                allow_missing_keys(built)
            self._built[target] = built
        return self._built[target]

    def image(self, picture: Picture, domain: str | None = None) -> tuple[torch.Tensor, Undo]:
        """Preprocess an image without a target, for prediction.

        Args:
            picture: The image.
            domain: Which of two domains it is from, for a task that knows domains.

        Returns:
            The image, float32 ``(C, [Z,] Y, X)``, and the way back for its prediction.
        """
        prepared = self.sample(Loaded(picture), TargetKind.NONE, domain=domain)
        return prepared.image, prepared.undo

    def sample(
        self,
        loaded: Loaded,
        kind: TargetKind,
        id: str = "",  # noqa: A002
        domain: str | None = None,
    ) -> Prepared:
        """Preprocess one sample.

        Args:
            loaded: What was read.
            kind: What the target is.
            id: The sample's id, which transforms may read.
            domain: Which of two domains the image is from, for a task that knows domains.

        Raises:
            DataError: If a step refuses the sample or makes something that is no image.
        """
        sample = _start(loaded, kind, id)
        if domain is not None:
            sample[DOMAIN] = domain
        used = []
        steps = self.steps(target=loaded.target is not None)
        for component, step in zip(self.config.preprocess, steps, strict=True):
            if isinstance(step, ForDomain):
                if step.domain != domain:
                    continue
                step = step.transform  # itself, so that what it does to the grid can be undone
            before = sample.get(TARGET)
            sample = _apply(step, component.name, sample)
            if kind is TargetKind.INSTANCES and before is not None and pads(step):
                sample[TARGET] = _told_apart(sample[TARGET], before)
            used.append(step)
        return _finish(loaded, sample, used)


def _start(loaded: Loaded, kind: TargetKind, id: str) -> dict[Any, Any]:  # noqa: A002
    picture = loaded.image
    affine = torch.as_tensor(meta_affine(picture))
    spacing = picture.spacing or [float("nan")] * picture.spatial_dims

    def on_grid(pixels: np.ndarray) -> MetaTensor:
        return MetaTensor(torch.from_numpy(pixels), affine=affine.clone())

    sample: dict[Any, Any] = {
        "id": id,
        SPACING: torch.tensor(spacing, dtype=torch.float32),
        IMAGE: on_grid(picture.pixels.astype(np.float32)),
    }
    if loaded.target is not None:
        sample[TARGET] = on_grid(_target_pixels(loaded.target.pixels, kind))
    if loaded.weight is not None:
        sample[WEIGHT] = on_grid(loaded.weight.pixels.astype(np.float32))
    return sample


def _target_pixels(pixels: np.ndarray, kind: TargetKind) -> np.ndarray:
    if kind is TargetKind.IMAGE:
        return pixels.astype(np.float32)
    if pixels.dtype.kind == "f":
        if not np.array_equal(pixels, np.rint(pixels)):
            return pixels.astype(np.float32)  # a map of probabilities, to be binarized perhaps
        pixels = np.rint(pixels)
    largest = int(pixels.max(initial=0))
    if kind is TargetKind.INSTANCES and largest >= _EXACT and pixels.min() >= 0:
        pixels = _renumbered(pixels)
        largest = int(pixels.max(initial=0))
    return pixels.astype(np.int32 if largest <= _BIG_LABEL else np.int64)


def _renumbered(labels: np.ndarray) -> np.ndarray:
    """Number objects from 1, also where their numbers are beyond those of 64 bits."""
    if labels.dtype.kind == "f":
        numbers = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
        labels = numbers + int(labels.min() > 0)
    return np.asarray(relabel(labels)[0])


def _told_apart(labels: Any, before: Any) -> Any:
    """Give objects that mirrored padding shows twice a number each."""
    if not (is_labels(labels) and is_labels(before)):
        return labels
    apart = separated(plain(labels)[0].numpy(), plain(before)[0].numpy())
    whole = torch.from_numpy(apart.astype(np.int64)[None]).to(plain(labels).dtype)
    return like(whole, labels)


def _apply(step: Transform, name: str, sample: dict[Any, Any]) -> dict[Any, Any]:
    try:
        out = step(sample)
    except ImtoolkitError:
        raise
    except Exception as error:  # a transform of MONAI or a plugin may raise anything
        text = str(error).strip() or type(error).__name__
        message = f"the step '{name}' of data.preprocess failed: {text}"
        raise DataError(message) from error
    if not isinstance(out, dict) or IMAGE not in out:
        message = (
            f"the step '{name}' of data.preprocess returned {type(out).__name__} without an image; "
            "expected the sample as a dict"
        )
        raise DataError(message)
    return out


def _finish(loaded: Loaded, sample: dict[Any, Any], steps: Sequence[Transform]) -> Prepared:
    image, picture = sample[IMAGE], loaded.image
    dims = plain(image).ndim - 1
    known = isinstance(image, MetaTensor)
    affine = np.asarray(image.affine, dtype=np.float64) if known else meta_affine(picture)
    operations = reset_ops_id([image.clone()])[0].applied_operations if known else []
    shape, factors = _enlarged(tuple(picture.pixels.shape[1:]), steps)
    grid = finer_affine(meta_affine(picture), factors)
    spacing = spacing_of(affine, dims) if picture.spacing is not None else None
    undo = Undo(
        shape=shape,
        affine=affine,
        operations=operations,
        steps=[step for step in steps if isinstance(step, InvertibleTransform)],
        spacing=_divided(picture.spacing, factors),
        world=reverse_columns(grid, len(shape)) if picture.affine is not None else None,
        prepared_spacing=spacing,
    )
    return Prepared(
        image=plain(image).to(torch.float32).contiguous(),
        target=_tensor(sample.get(TARGET)),
        weight=_tensor(sample.get(WEIGHT)),
        spacing=spacing,
        unit=picture.unit,
        affine=reverse_columns(affine, dims) if picture.affine is not None else None,
        undo=undo,
    )


def _enlarged(
    shape: tuple[int, ...], steps: Sequence[Transform]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the grid that a prediction keeps, and by how much it is finer than the file's."""
    factors = (1,) * len(shape)
    for step in steps:
        if isinstance(step, Enlarge):
            factors = tuple(a * b for a, b in zip(factors, step.of_axes(len(shape)), strict=True))
    return tuple(side * factor for side, factor in zip(shape, factors, strict=True)), factors


def _divided(spacing: Sequence[float] | None, factors: Sequence[int]) -> tuple[float, ...] | None:
    if spacing is None:
        return None
    return tuple(size / factor for size, factor in zip(spacing, factors, strict=True))


def _tensor(value: Any) -> torch.Tensor | None:
    return None if value is None else plain(value).contiguous()
