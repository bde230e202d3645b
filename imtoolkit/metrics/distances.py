"""How far apart two sets of images are, by the features of each image.

No image of one set belongs to one of the other: it is the clouds of features that are compared.
The measures work on plain arrays ``(images, features)``, from whatever encoder they come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from .base import (
    Array,
    Better,
    SetMetric,
    WeightedMetric,
    mean_of_defined,
    means_of_defined,
    ratio,
)

_TINY = 1e-12


def frechet_distance(first: Array, second: Array, *, shrink: bool = True) -> float:
    r"""Return the squared Fréchet distance of two sets, taken for Gaussians.

    .. math::
        |\mu_1 - \mu_2|^2 + \mathrm{tr}(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2})

    It is what FID is on the features of Inception (Heusel et al., NeurIPS 2017). It is biased
    upwards, the more so the fewer images there are: compare values of equally many images only.

    Args:
        first: Features ``(N, K)``, at least two images.
        second: Features ``(M, K)``.
        shrink: Shrink the covariances as Ledoit and Wolf (J. Multivariate Analysis 2004) do, which
            fewer images than features need.

    Returns:
        At least 0; NaN where a set has fewer than two images.

    Example:
        >>> line = np.linspace(-1, 1, 5)[:, None]
        >>> round(frechet_distance(line, line + 3), 6)
        9.0
    """
    if len(first) < 2 or len(second) < 2:
        return float("nan")
    ours, theirs = (_covariance(values, shrink=shrink) for values in (first, second))
    gap = first.mean(0) - second.mean(0)
    root = _square_root(ours)
    # the eigenvalues of ours @ theirs are those of this symmetric matrix
    values = np.linalg.eigvalsh(root @ theirs @ root)
    cross = np.sqrt(np.clip(values, 0, None)).sum()
    distance = gap @ gap + np.trace(ours) + np.trace(theirs) - 2 * cross
    return max(0.0, float(distance))


def kernel_distance(first: Array, second: Array) -> float:
    r"""Return the kernel distance of two sets: the unbiased estimate of the squared MMD.

    With the kernel :math:`k(x, y) = (x \cdot y / K + 1)^3` it is what KID is on the features of
    Inception (Bińkowski et al., ICLR 2018). Its mean does not depend on the number of images, so it
    suits small sets; equal sets give values around 0, below it as often as above.

    Args:
        first: Features ``(N, K)``, at least two images.
        second: Features ``(M, K)``.

    Returns:
        NaN where a set has fewer than two images.

    Example:
        >>> line = np.linspace(-1, 1, 5)[:, None]
        >>> kernel_distance(line, line + 3) > kernel_distance(line, line + 1) > 0
        True
    """
    weights = [np.ones((1, len(values))) for values in (first, second)]
    return float(_kernel_distances(first, second, *weights)[0])


def ledoit_wolf(values: Array) -> tuple[Array, float]:
    r"""Return the covariance of samples, shrunk towards a multiple of the identity.

    .. math:: (1 - \rho) S + \rho \, \frac{\mathrm{tr} S}{K} I

    with the :math:`\rho` that is best in the squared error (Ledoit and Wolf, 2004).

    Args:
        values: Samples ``(N, K)``.

    Returns:
        The covariance ``(K, K)``, and how much it is shrunk, 0 to 1.

    Example:
        >>> few = np.random.default_rng(0).standard_normal((4, 20))
        >>> covariance, shrunk = ledoit_wolf(few)
        >>> bool(np.linalg.eigvalsh(covariance).min() > 0), shrunk > 0.5
        (True, True)
    """
    count, size = values.shape
    centred = values - values.mean(0)
    sample = centred.T @ centred / count
    target = np.trace(sample) / size * np.eye(size)
    distance = ((sample - target) ** 2).sum()
    spread = ((centred**2).sum(1) ** 2).sum() - count * (sample**2).sum()
    shrunk = min(1.0, float(spread / count**2 / distance)) if distance > _TINY else 1.0
    return (1 - shrunk) * sample + shrunk * target, shrunk


class _DomainDistance(SetMetric):
    """A distance between the real and the made images of each domain, by features.

    ``predicted`` holds the features of made images and ``target`` those of real ones, both ``(N,
    K)`` with the columns of all domains side by side. A row is NaN where an image has none: an
    image of domain A is real in A, and what is made of it is in B.

    Features are first brought to mean 0 and deviation 1 over all images, so that each counts alike
    and values of different encoders can be compared.

    Args:
        sizes: Number of features of each domain.
    """

    better: Better = "min"

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.sizes = dict(sizes)

    def parts(self, predicted: Array, target: Array) -> dict[str, tuple[Array, ...]]:
        """Return the features of made and real images of each domain, and the rows they are in."""
        found, start = {}, 0
        for domain, size in self.sizes.items():
            part = slice(start, start + size)
            start += size
            made, real = predicted[:, part], target[:, part]
            rows = [np.flatnonzero(~np.isnan(values).any(1)) for values in (made, real)]
            found[domain] = (*standardised(made[rows[0]], real[rows[1]]), *rows)
        return found

    def named(self, values: Mapping[str, Any], mean: Any) -> dict[str, Any]:
        """Return the values by name, the mean over the domains first."""
        own = {f"{self.name}/{domain}": value for domain, value in values.items()}
        return {self.name: mean(list(values.values())), **own}


class FrechetMetric(_DomainDistance):
    """`frechet_distance` between real and made images, as a mean over the features.

    It is 0 for sets that look alike and 4 where each feature tells all made images from all real
    ones. Real images against other real ones are not at 0, the less so the fewer there are.

    Args:
        sizes: Number of features of each domain.
    """

    name = "frechet_distance"
    most_resamples: ClassVar[int | None] = 100

    def __call__(
        self, predicted: Array, target: Array, probability: Array | None = None
    ) -> dict[str, float]:
        """See `SetMetric`."""
        del probability
        values = {
            domain: frechet_distance(made, real) / max(1, self.sizes[domain])
            for domain, (made, real, *_) in self.parts(predicted, target).items()
        }
        return self.named(values, mean_of_defined)


class KernelMetric(_DomainDistance, WeightedMetric):
    """`kernel_distance` between real and made images.

    Args:
        sizes: Number of features of each domain.
    """

    name = "kernel_distance"

    def weighted(
        self, predicted: Array, target: Array, probability: Array | None, weights: Array
    ) -> dict[str, Array]:
        """See `WeightedMetric`."""
        del probability
        values = {}
        for domain, (made, real, ours, theirs) in self.parts(predicted, target).items():
            values[domain] = _kernel_distances(made, real, weights[:, ours], weights[:, theirs])
        return self.named(values, lambda found: means_of_defined(np.stack(found, axis=-1)))


def standardised(made: Array, real: Array) -> tuple[Array, Array]:
    """Bring features to mean 0 and deviation 1 over both sets, each set counting half.

    Example:
        >>> made, real = standardised(np.full((3, 1), 9.0), np.full((5, 1), 5.0))
        >>> made.ravel().tolist(), real.ravel().tolist()
        ([1.0, 1.0, 1.0], [-1.0, -1.0, -1.0, -1.0, -1.0])
    """
    if not len(made) or not len(real):
        return made, real
    first, second = made.mean(0), real.mean(0)
    spread = np.sqrt((made.var(0) + real.var(0)) / 2 + ((first - second) / 2) ** 2)
    spread = np.where(spread > _TINY, spread, 1.0)
    middle = (first + second) / 2
    return (made - middle) / spread, (real - middle) / spread


def _covariance(values: Array, *, shrink: bool) -> Array:
    if shrink:
        return ledoit_wolf(values)[0]
    return np.atleast_2d(np.cov(values, rowvar=False, bias=True))


def _square_root(matrix: Array) -> Array:
    """Return the root of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    root: Array = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return root


def _kernel_distances(first: Array, second: Array, ours: Array, theirs: Array) -> Array:
    """Return the distance for each of several weights of the images.

    Args:
        first: Features ``(N, K)``.
        second: Features ``(M, K)``.
        ours: How much each image of the first set counts, ``(R, N)``.
        theirs: The same for the second, ``(R, M)``.
    """
    size = max(1, first.shape[1])

    def kernel(one: Array, other: Array) -> Array:
        values: Array = (one @ other.T / size + 1) ** 3
        return values

    between = ((ours @ kernel(first, second)) * theirs).sum(1)
    crossed = ratio(between, ours.sum(1) * theirs.sum(1))
    inside = sum(_within(kernel(values, values), weights)
                 for values, weights in ((first, ours), (second, theirs)))  # fmt: skip
    found: Array = inside - 2 * crossed
    return found


def _within(kernel: Array, weights: Array) -> Array:
    """Return the mean of the kernel over pairs of different images."""
    apart = kernel - np.diag(np.diag(kernel))
    total = ((weights @ apart) * weights).sum(1)
    return ratio(total, weights.sum(1) ** 2 - (weights**2).sum(1))


def features_of_rows(
    rows: Sequence[Mapping[str, Any]], domains: Sequence[str], start: str = "features"
) -> tuple[dict[str, int], Array, Array]:
    """Return what `FrechetMetric` and `KernelMetric` take, from the rows of an evaluation.

    Args:
        rows: ``features/<domain>/real`` and ``features/<domain>/made`` hold arrays ``(K,)``.
        domains: Names of the domains.
        start: First word of these columns.

    Returns:
        Number of features of each domain, and the features of made and of real images.
    """
    sizes = {}
    for domain in domains:
        names = [f"{start}/{domain}/{kind}" for kind in ("real", "made")]
        sizes[domain] = next((len(row[n]) for row in rows for n in names if n in row), 0)
    sizes = {domain: size for domain, size in sizes.items() if size}
    found = []
    for kind in ("made", "real"):
        parts = [
            [row.get(f"{start}/{domain}/{kind}", np.full(size, np.nan)) for row in rows]
            for domain, size in sizes.items()
        ]
        blocks = [np.asarray(part, dtype=float).reshape(len(rows), -1) for part in parts]
        found.append(np.concatenate(blocks, axis=1) if blocks else np.zeros((len(rows), 0)))
    return sizes, found[0], found[1]
