"""What is made of shapes: distances to the edge, skeletons, wider objects; and smoother maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from scipy import ndimage

from imtoolkit.labels.maps import distance_map

from .base import RESULT, Array, Makes, PostprocessStep
from .parts import numbered_parts
from .sizes import LABELS
from .units import check_unit, pixel_sides


def distance(
    labels: Array,
    *,
    unit: str = "pixels",
    spacing: Sequence[float] | None = None,
    normalize: bool = False,
) -> Array:
    """Return how far each pixel of an object is from what is not of it (Euclidean).

    Args:
        labels: Mask, or labels ``([Z,] Y, X)`` whose numbers are kept apart; 0 is background.
        unit: ``pixels`` or ``physical``.
        spacing: Pixel size ``[Z,] Y, X``, for physical units.
        normalize: Divide by the greatest distance in each object (connected part of a mask).

    Returns:
        Float32, 0 on background. The end of the image is no edge, unless the object fills it all.

    Raises:
        DataError: If the pixel size is needed and not known.

    Example:
        >>> distance(np.array([0, 1, 1, 1, 0])).tolist()
        [0.0, 1.0, 2.0, 1.0, 0.0]
    """
    labels = np.asarray(labels)
    sides = pixel_sides(unit, spacing, labels.ndim, "a distance")
    if labels.dtype == np.bool_ and not normalize and not labels.all():
        away = ndimage.distance_transform_edt(labels, sampling=sides)
        return np.asarray(away, np.float32)
    if labels.dtype == np.bool_:
        labels, _ = numbered_parts(labels, diagonal=True)
    found: Array = distance_map(
        labels, normalize=normalize, spacing=sides if unit == "physical" else None
    )
    return found


def smooth(
    image: Array,
    sigma: float,
    *,
    unit: str = "pixels",
    spacing: Sequence[float] | None = None,
) -> Array:
    """Blur a map by a Gaussian; a mask becomes a map from 0 to 1.

    Args:
        image: Map or mask ``([Z,] Y, X)``.
        sigma: Standard deviation; 0 leaves the map as it is.
        unit: ``pixels`` or ``physical``.
        spacing: Pixel size ``[Z,] Y, X``, for physical units.

    Raises:
        DataError: If the pixel size is needed and not known.

    Example:
        >>> bool(smooth(np.eye(9), 1.0).max() < 1)
        True
    """
    _check_sigma(sigma)
    image = np.asarray(image, np.float32)
    sides = pixel_sides(unit, spacing, image.ndim, "sigma")
    blurred: Array = ndimage.gaussian_filter(image, [sigma / side for side in sides])
    return blurred


def thin(labels: Array, iterations: int | None = None) -> Array:
    """Thin objects without breaking them or closing their holes.

    Args:
        labels: Mask, or labels ``([Z,] Y, X)`` whose numbers are thinned one by one.
        iterations: Layers of pixels to take away at most (2D only); ``None`` thins to the skeleton:
            in 2D that of Zhang and Suen (1984), in 3D that of Lee et al. (1994).

    Returns:
        The same type.

    Raises:
        ValueError: If a volume is to be thinned by a number of layers: there is no such algorithm.

    Example:
        >>> thin(np.ones((3, 7), bool)).sum(0).tolist()
        [1, 1, 1, 1, 1, 1, 0]
    """
    labels = np.asarray(labels)
    _check_iterations(iterations)
    if iterations is not None and labels.ndim > 2:
        message = (
            f"got iterations={iterations} for a volume: in 3D objects are thinned to their "
            "skeleton alone. Leave iterations out"
        )
        raise ValueError(message)
    if labels.dtype == np.bool_:
        return _skeleton(labels, iterations)
    found = np.zeros_like(labels)
    for number, box in enumerate(ndimage.find_objects(labels.astype(np.int64)), start=1):
        if box is not None:
            found[box][_skeleton(labels[box] == number, iterations)] = number
    return found


def expand(
    labels: Array,
    amount: float,
    *,
    unit: str = "pixels",
    spacing: Sequence[float] | None = None,
    within: Array | None = None,
) -> Array:
    """Grow objects into the background, each up to the middle of the way to the next.

    Args:
        labels: Mask or labels ``([Z,] Y, X)``, 0 for background.
        amount: Distance to grow by.
        unit: ``pixels`` or ``physical``.
        spacing: Pixel size ``[Z,] Y, X``, for physical units.
        within: Mask beyond which nothing grows.

    Returns:
        The same type.

    Raises:
        DataError: If the pixel size is needed and not known.

    Example:
        >>> expand(np.array([0, 0, 1, 0, 0, 0, 2, 0]), 1).tolist()
        [0, 1, 1, 1, 0, 2, 2, 2]
    """
    labels = np.asarray(labels)
    if not amount >= 0:
        message = f"got a distance of {amount}; expected 0 or more"
        raise ValueError(message)
    sides = pixel_sides(unit, spacing, labels.ndim, "a distance")
    if not labels.any():
        return labels.copy()
    away, nearest = ndimage.distance_transform_edt(labels == 0, sampling=sides, return_indices=True)
    grows = (away > 0) & (away <= amount * (1 + 1e-6))
    if within is not None:
        grows &= np.asarray(within) > 0
    grown = labels.copy()
    grown[grows] = labels[tuple(axis[grows] for axis in nearest)]
    return grown


def _skeleton(mask: Array, iterations: int | None) -> Array:
    from skimage.morphology import skeletonize
    from skimage.morphology import thin as take_layers

    if iterations is None:
        return np.asarray(skeletonize(mask)).astype(bool)
    return np.asarray(take_layers(mask, max_num_iter=iterations)).astype(bool)


def _check_sigma(sigma: float) -> None:
    if not 0 <= sigma < math.inf:
        message = f"got sigma={sigma}; expected a finite number, 0 or more"
        raise ValueError(message)


def _check_iterations(iterations: int | None) -> None:
    if iterations is not None and iterations < 1:
        message = f"got iterations={iterations}; expected 1 or more"
        raise ValueError(message)


class Distance(PostprocessStep):
    """How far each pixel of an object is from what is not of it (Euclidean).

    Args:
        unit: ``pixels`` or ``physical``.
        normalize: Divide by the greatest distance in each object (connected part of a mask).
        of: Mask, classes or objects that it reads.
        to: Name of the result.
    """

    makes = Makes.MAP
    takes: ClassVar[Mapping[str, tuple[Makes, ...]]] = {"of": LABELS}

    def __init__(
        self,
        unit: str = "pixels",
        normalize: bool = False,
        of: str = RESULT,
        to: str = RESULT,
    ) -> None:
        super().__init__(of, to)
        self.unit = check_unit(unit)
        self.normalize = normalize

    def apply(self, values: Mapping[str, Array], spacing: Sequence[float] | None) -> Array:
        """See `PostprocessStep`."""
        return distance(
            self.read(values), unit=self.unit, spacing=spacing, normalize=self.normalize
        )


class Smooth(PostprocessStep):
    """A map, blurred by a Gaussian.

    Args:
        sigma: Standard deviation.
        unit: ``pixels`` or ``physical``.
        of: Map or mask that it reads.
        to: Name of the result.
    """

    makes = Makes.MAP
    takes: ClassVar[Mapping[str, tuple[Makes, ...]]] = {"of": (Makes.MAP, Makes.MASK)}
    tunable: ClassVar[Mapping[str, tuple[Any, ...]]] = {"sigma": (0.0, 0.5, 1.0, 2.0, 4.0)}

    def __init__(
        self, sigma: float, unit: str = "pixels", of: str = RESULT, to: str = RESULT
    ) -> None:
        super().__init__(of, to)
        _check_sigma(sigma)
        self.sigma = sigma
        self.unit = check_unit(unit)

    def apply(self, values: Mapping[str, Array], spacing: Sequence[float] | None) -> Array:
        """See `PostprocessStep`."""
        return smooth(self.read(values), self.sigma, unit=self.unit, spacing=spacing)


class Thin(PostprocessStep):
    """Objects, thinned without breaking them or closing their holes.

    Args:
        iterations: Layers of pixels to take away at most (2D only); left out, thins to the
            skeleton.
        of: Mask, classes or objects that it reads.
        to: Name of the result.
    """

    makes = Makes.SAME
    takes: ClassVar[Mapping[str, tuple[Makes, ...]]] = {"of": LABELS}

    def __init__(self, iterations: int | None = None, of: str = RESULT, to: str = RESULT) -> None:
        super().__init__(of, to)
        _check_iterations(iterations)
        self.iterations = iterations

    def refuses(self, dims: int) -> str | None:
        """See `PostprocessStep`."""
        if self.iterations is None or dims == 2:
            return None
        return "in 3D objects are thinned to their skeleton alone: leave 'iterations' out"

    def apply(self, values: Mapping[str, Array], spacing: Sequence[float] | None) -> Array:
        """See `PostprocessStep`."""
        del spacing
        return thin(self.read(values), self.iterations)


class Expand(PostprocessStep):
    """Objects, grown into the background, each up to the middle of the way to the next.

    Args:
        distance: How far they grow.
        unit: ``pixels`` or ``physical``.
        within: Name of a mask (or of classes or objects) beyond which nothing grows.
        of: Mask, classes or objects that it reads.
        to: Name of the result.
    """

    makes = Makes.SAME
    takes: ClassVar[Mapping[str, tuple[Makes, ...]]] = {"of": LABELS, "within": LABELS}
    tunable: ClassVar[Mapping[str, tuple[Any, ...]]] = {"distance": (0, 1, 1.5, 2, 3)}

    def __init__(
        self,
        distance: float,
        unit: str = "pixels",
        within: str | None = None,
        of: str = RESULT,
        to: str = RESULT,
    ) -> None:
        super().__init__(of, to)
        if not distance >= 0:
            message = f"got a distance of {distance}; expected 0 or more"
            raise ValueError(message)
        self.distance = distance
        self.unit = check_unit(unit)
        self.within = within

    def apply(self, values: Mapping[str, Array], spacing: Sequence[float] | None) -> Array:
        """See `PostprocessStep`."""
        within = None if self.within is None else self.read(values, self.within)
        return expand(
            self.read(values), self.distance, unit=self.unit, spacing=spacing, within=within
        )
