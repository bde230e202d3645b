"""The loss of spatial embeddings: pixels of an object shall point to its centre, and to no other.

Only pairs of a pixel and an object that can matter are computed: the pixels of the object, and
those that point near its centre. They are found through a grid of cells, for all objects of a batch
at once, so that time and memory grow with pixels and objects, not with their product.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from .forms import divisor, nothing_of
from .lovasz import lovasz_of_groups

NEGLIGIBLE: Final = 1e-3
"""Pixels of others whose Gaussian value is smaller are left out of an object's Lovász hinge.

That changes the loss of an object by less than twice this number.
"""
_HALF: Final = math.sqrt(2 * math.log(2))  # a Gaussian is 1/2 at so many standard deviations
_TENTHS: Final = 5  # log(2 sigma^2) / 10 in units of log(sigma)
_CELL: Final = 16.0  # side of the cells of the search, in pixels


def as_embedding(
    raw: Tensor,
    spatial_dims: int,
    *,
    radius: float = 10.0,
    grid: float = 1024.0,
    anisotropy: Sequence[float] | None = None,
) -> Tensor:
    r"""Turn the output of a net into offsets, logarithms of scales, and seeds.

    With the size of pixels :math:`a` relative to those of the last axis, radius :math:`r` and grid
    :math:`g`:

    .. math::
        o = g \tanh(r x / g) / a, \quad
        \log \sigma = x + \log(r / \sqrt{2 \log 2}), \quad s = 1 / (1 + e^{-x})

    A net that says 0 takes a pixel for the centre of a disc of the given radius.

    Args:
        raw: ``(B, dims + n_sigma + 1, [Z,] Y, X)``.
        spatial_dims: 2 or 3.
        radius: Usual radius of an object, in pixels of the last axis: the unit of the net.
        grid: No offset is longer, in pixels of the last axis.
        anisotropy: Size of a pixel along ``[Z,] Y, X`` relative to that along X; left out, 1.

    Returns:
        Float32 of the same shape: offsets in pixels along ``[Z,] Y, X``; logarithms of scales in
        pixels of the last axis; seeds between 0 and 1.

    Example:
        >>> found = as_embedding(torch.zeros(1, 4, 1, 1), 2, radius=10.0)
        >>> offsets, scale, seed = found[:, :2], found[:, 2:3].exp(), found[:, 3:]
        >>> offsets.abs().max().item(), round(scale.item(), 3), seed.item()
        (0.0, 8.493, 0.5)
    """
    raw = raw.float()
    size = _column(anisotropy, spatial_dims, raw)
    offsets = grid * torch.tanh(raw[:, :spatial_dims] * (radius / grid)) / size
    scales = raw[:, spatial_dims:-1] + math.log(radius / _HALF)
    return torch.cat((offsets, scales, raw[:, -1:].sigmoid()), dim=1)


class EmbedSegLoss(nn.Module):
    r"""Lovász hinge of each object's Gaussian, smooth scales within an object, and seeds.

    A pixel :math:`i` at :math:`x_i` with the offset :math:`o_i` points to :math:`e_i = x_i + o_i`.
    The scale of an object :math:`k` with the pixels :math:`S_k` is the (geometric) mean of those of
    its pixels, :math:`\log \sigma_k = \frac{1}{|S_k|} \sum_{S_k} \log \sigma_i`; with its centre
    :math:`C_k`, a pixel belongs to it as much as

    .. math:: \phi_k(e_i) = \exp(-\sum_d (e_{id} - C_{kd})^2 / (2 \sigma_{kd}^2))

    and the loss is

    .. math::
        L = \frac{w_1}{K} \sum_k \text{Lovász}(2 \phi_k - 1, S_k)
        + \frac{w_2}{K} \sum_k \frac{1}{|S_k|} \sum_{S_k} (t_i - t_k)^2
        + \frac{w_3}{N} \left(f \sum_{i \in S_k} (s_i - \phi_k(e_i))^2
        + \sum_{i \notin S} s_i^2\right)

    with the objects of the whole batch, and :math:`t = -\log(2 \sigma^2) / 10`, which the nets of
    the papers tell: the usual weights are theirs. Papers: Neven et al., CVPR 2019; Lalit et al.,
    Medical Image Analysis 2022.

    Args:
        spatial_dims: 2 or 3.
        anisotropy: Size of a pixel along ``[Z,] Y, X`` relative to that along X; left out, 1.
        instance_weight: Weight of the Lovász hinge.
        smoothness_weight: Weight of the variance of the scales.
        seed_weight: Weight of the seeds.
        foreground_weight: How much more the seeds count on objects than on background.

    Attributes:
        last_parts: The three parts of the last call without their weights: ``instances``,
            ``smoothness``, ``seeds``.

    Shape:
        prediction ``(B, dims + n_sigma + 1, [Z,] Y, X)`` as `as_embedding` makes it, where
        ``n_sigma`` is 1 or ``dims``; target ``(B, 1 + dims, [Z,] Y, X)``: the numbers of objects,
        0 for background, and from each pixel of an object to its centre, in pixels. Without the
        latter, ``(B, 1, [Z,] Y, X)``, centres are centroids. weight ``(B, 1, [Z,] Y, X)``, where 0
        ignores a pixel, or ``None``. Returns a scalar.

    Example:
        A single object that points to its centre, with seeds that know it:

        >>> labels = torch.zeros(1, 1, 8, 8, dtype=torch.long)
        >>> labels[..., 2:5, 2:5] = 1
        >>> places = torch.stack(torch.meshgrid(*2 * [torch.arange(8.0)], indexing="ij"))
        >>> far = torch.full((2, 8, 8), 99.0)
        >>> offsets = torch.where(labels[0] > 0, 3 - places, far)[None]
        >>> perfect = torch.cat((offsets, torch.zeros(1, 1, 8, 8), (labels > 0).float()), dim=1)
        >>> EmbedSegLoss()(perfect, labels).item()
        0.0
    """

    of_pixels = True
    of_embeddings = True

    def __init__(
        self,
        spatial_dims: int = 2,
        anisotropy: Sequence[float] | None = None,
        instance_weight: float = 1.0,
        smoothness_weight: float = 10.0,
        seed_weight: float = 1.0,
        foreground_weight: float = 10.0,
    ) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims
        self.anisotropy = None if anisotropy is None else tuple(anisotropy)
        self.weights = {
            "instances": instance_weight,
            "smoothness": smoothness_weight,
            "seeds": seed_weight,
        }
        self.foreground_weight = foreground_weight
        self.last_parts: dict[str, Tensor] = {}
        if min(*self.weights.values(), foreground_weight) < 0:
            message = (
                f"got weights {self.weights} and foreground_weight={foreground_weight}; expected "
                "numbers of 0 or more"
            )
            raise ValueError(message)

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """See the class.

        Raises:
            ValueError: If the shapes do not belong together.
        """
        self._check(prediction, target, weight)
        size = _column(self.anisotropy, self.spatial_dims, prediction)
        places = size * _places(prediction)  # (1, dims, ...)
        maps = _rows(prediction.float())
        dims = self.spatial_dims
        points = _rows(places + size * prediction[:, :dims].float())  # (dims, pixels)
        counts = None if weight is None else _rows(weight.float())[0]
        objects = _objects_of(target, places, size, counts)
        scales, seeds = maps[dims:-1], maps[-1]
        parts = {"instances": nothing_of(prediction), "smoothness": nothing_of(prediction)}
        wanted = torch.zeros_like(seeds)
        if len(objects.image):
            mean = objects.mean(scales)  # (n_sigma, K)
            own_scales = scales.gather(1, _index(objects.pixel, scales))
            away = (own_scales - mean.gather(1, _index(objects.owner, mean))) ** 2
            parts["smoothness"] = objects.mean(away, picked=True).mean() / _TENTHS**2
            each, own = _hinges(points, mean, objects, counts, target)
            parts["instances"] = each.mean()
            wanted = wanted.index_copy(0, objects.pixel, own.detach())
        parts["seeds"] = self._seeds(seeds, wanted, target, counts)
        self.last_parts = {name: part.detach() for name, part in parts.items()}
        return torch.stack([self.weights[name] * part for name, part in parts.items()]).sum()

    def _seeds(
        self, seeds: Tensor, wanted: Tensor, target: Tensor, counts: Tensor | None
    ) -> Tensor:
        inside = _rows(target[:, :1])[0] > 0
        each = torch.where(inside, self.foreground_weight, 1.0) * (seeds - wanted) ** 2
        if counts is None:
            return each.mean()
        return (each * counts).sum() / divisor(counts.sum())

    def _check(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> None:
        dims = self.spatial_dims
        batch, channels, *shape = prediction.shape
        fits = (
            prediction.ndim == target.ndim == dims + 2
            and channels in (dims + 2, 2 * dims + 1)
            and target.shape[1] in (1, dims + 1)
            and (target.shape[0], *target.shape[2:]) == (batch, *shape)
            and (weight is None or tuple(weight.shape) == (batch, 1, *shape))
        )
        if not fits:
            beside = "" if weight is None else f", weight {tuple(weight.shape)}"
            message = (
                f"got prediction {tuple(prediction.shape)}, target {tuple(target.shape)}{beside}; "
                f"expected (B, {dims + 2}, ...) with one scale or (B, {2 * dims + 1}, ...) with "
                f"one for each axis, and a target (B, 1, ...) of labels, or (B, {dims + 1}, ...) "
                f"with the offsets to the centres, all with {dims} axes"
            )
            raise ValueError(message)


@dataclass(frozen=True)
class _Objects:
    """The objects of a batch, and the pixels of them that count.

    Attributes:
        image: Image of each object, ``(K,)``.
        centre: Centre of each, ``(dims, K)``.
        mass: Sum of the weights of its pixels, ``(K,)``.
        pixel: Each pixel that belongs to an object, as a number in the batch, ``(M,)``.
        owner: Its object, ``(M,)``.
        weight: Its weight, ``(M,)``.
    """

    image: Tensor
    centre: Tensor
    mass: Tensor
    pixel: Tensor
    owner: Tensor
    weight: Tensor

    def mean(self, values: Tensor, *, picked: bool = False) -> Tensor:
        """Return means ``(C, K)`` over the pixels of each object.

        Args:
            values: ``(C, pixels)``, or ``(C, M)`` where they are picked.
            picked: Whether there is a value for each pixel of an object only.
        """
        if not picked:
            values = values.gather(1, _index(self.pixel, values))
        return _sums(values * self.weight, self.owner, len(self.mass)) / self.mass


def _objects_of(target: Tensor, places: Tensor, size: Tensor, counts: Tensor | None) -> _Objects:
    """Find the objects; those whose pixels all have the weight 0 are none."""
    labels = _rows(target[:, :1])[0].long()
    each = labels.numel() // len(target)  # pixels of an image
    pixel = (labels if counts is None else labels * (counts > 0)).nonzero()[:, 0]
    image = torch.div(pixel, each, rounding_mode="floor")
    wide = int(labels.max()) + 1
    numbers, owner = torch.unique(labels[pixel] + image * wide, return_inverse=True)
    weight = torch.ones_like(pixel, dtype=torch.float32) if counts is None else counts[pixel]
    centres = places.expand(len(target), *places.shape[1:])
    if target.shape[1] > 1:
        centres = centres + size * target[:, 1:].float()
    known = _rows(centres)
    count = len(numbers)
    each_centre = known.gather(1, _index(pixel, known))
    # equal on all pixels of an object where the target tells it, so that no weights are needed
    number = _sums(torch.ones_like(weight)[None], owner, count)
    centre = _sums(each_centre, owner, count) / number
    mass = _sums(weight[None], owner, count)[0]
    return _Objects(
        torch.div(numbers, wide, rounding_mode="floor"), centre, mass, pixel, owner, weight
    )


def _hinges(
    points: Tensor, scales: Tensor, objects: _Objects, counts: Tensor | None, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the Lovász hinge of each object ``(K,)``, and the Gaussian of its own pixels."""
    precision = torch.exp(-2 * scales) / 2
    pixel, owner = _strangers(points.detach(), precision.detach(), objects, counts, len(target))
    outside = _gaussian(points, precision, objects.centre, pixel, owner)
    inside = _gaussian(points, precision, objects.centre, objects.pixel, objects.owner)
    others = torch.ones_like(outside) if counts is None else counts[pixel]
    each = lovasz_of_groups(
        torch.cat((2 * (1 - inside), 2 * outside)),  # the hinge of the logit 2 phi - 1
        torch.cat((torch.ones_like(inside), torch.zeros_like(outside))),
        torch.cat((objects.weight, others)),
        torch.cat((objects.owner, owner)),
        len(objects.mass),
    )
    return each, inside


def _gaussian(
    points: Tensor, precision: Tensor, centre: Tensor, pixel: Tensor, owner: Tensor
) -> Tensor:
    away = points.gather(1, _index(pixel, points)) - centre.gather(1, _index(owner, centre))
    return torch.exp(-(away**2 * precision.gather(1, _index(owner, precision))).sum(0))


@torch.no_grad()
def _strangers(
    points: Tensor, precision: Tensor, objects: _Objects, counts: Tensor | None, batch: int
) -> tuple[Tensor, Tensor]:
    """Return all pairs of a pixel and an object near whose centre it points from without."""
    # what is not finite makes the loss so, and shall not break the search
    points, far = points.nan_to_num(), -math.log(NEGLIGIBLE)
    reach = (far / precision).sqrt().nan_to_num().expand_as(objects.centre)
    centre = objects.centre
    margin = 8 * _CELL  # cells at the rim hold all that lies beyond
    low = points.amin(1, keepdim=True).maximum(centre.amin(1, keepdim=True) - margin)
    high = points.amax(1, keepdim=True).minimum(centre.amax(1, keepdim=True) + margin)
    sides = ((high - low) / _CELL).long().clamp_min(0) + 1
    start, stop = _cell(centre - reach, low, sides), _cell(centre + reach, low, sides)
    cells, owners = _boxes(start, stop, sides, objects.image)
    every = int(sides.prod())
    owners = owners[cells.argsort(stable=True)]
    filled = torch.bincount(cells, minlength=every * batch)
    begins = filled.cumsum(0) - filled
    image = torch.arange(batch, device=points.device).repeat_interleave(points.shape[1] // batch)
    home = _flat(_cell(points, low, sides), sides) + image * every
    several = filled[home] if counts is None else filled[home] * (counts > 0)
    pixel = torch.repeat_interleave(several)
    owner = owners[_within(several, begins[home])]
    own = torch.full_like(home, -1).index_copy(0, objects.pixel, objects.owner)
    away = points.index_select(1, pixel) - centre.index_select(1, owner)
    away = (away**2 * precision.index_select(1, owner)).sum(0)
    kept = ((away < far) & (own[pixel] != owner)).nonzero()[:, 0]
    return pixel[kept], owner[kept]


def _cell(points: Tensor, low: Tensor, sides: Tensor) -> Tensor:
    """Return the cells ``(dims, ...)`` of points."""
    return ((points - low) / _CELL).clamp(min=0).minimum(sides - 1).long()


def _boxes(start: Tensor, stop: Tensor, sides: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """Return each cell of boxes ``(dims, K)``, numbered over all images, and its object."""
    lengths = stop - start + 1
    volume = lengths.prod(0)
    owner, number = torch.repeat_interleave(volume), _within(volume)
    found: list[Tensor] = []
    for axis in reversed(range(len(start))):
        length = lengths[axis][owner]
        found.insert(0, start[axis][owner] + number % length)
        number = torch.div(number, length, rounding_mode="floor")
    cells = _flat(torch.stack(found), sides) + image[owner] * int(sides.prod())
    return cells, owner


def _within(lengths: Tensor, begins: Tensor | None = None) -> Tensor:
    """Count within each of several stretches, from 0: lengths 2 and 3 give 0, 1, 0, 1, 2."""
    shift = lengths - lengths.cumsum(0) + (0 if begins is None else begins)
    shifts = torch.repeat_interleave(shift, lengths)
    return shifts + torch.arange(len(shifts), device=lengths.device)


def _flat(cells: Tensor, sides: Tensor) -> Tensor:
    """Return the numbers of cells ``(dims, ...)`` in scan order."""
    number = cells[0]
    for axis in range(1, len(cells)):
        number = number * sides[axis, 0] + cells[axis]
    return number


def _sums(values: Tensor, owner: Tensor, count: int) -> Tensor:
    """Return sums ``(C, count)`` of values ``(C, M)`` by their owner."""
    # scatter_add and gather are the same in every run on a CPU; indexing has sums in any order
    return values.new_zeros(len(values), count).scatter_add(1, _index(owner, values), values)


def _index(places: Tensor, values: Tensor) -> Tensor:
    return places.expand(len(values), len(places))


def _rows(image: Tensor) -> Tensor:
    """Return ``(C, B * pixels)`` of ``(B, C, [Z,] Y, X)``."""
    return image.movedim(1, 0).flatten(1)


def _places(like: Tensor) -> Tensor:
    """Return the place of each pixel, ``(1, dims, [Z,] Y, X)``."""
    axes = [torch.arange(side, device=like.device, dtype=torch.float32) for side in like.shape[2:]]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def _column(anisotropy: Sequence[float] | None, spatial_dims: int, like: Tensor) -> Tensor:
    """Return the size of pixels ``(1, dims, 1, 1[, 1])``."""
    if anisotropy is None:
        anisotropy = (1.0,) * spatial_dims
    if len(anisotropy) != spatial_dims or min(anisotropy) <= 0:
        message = f"got anisotropy={list(anisotropy)}; expected {spatial_dims} positive numbers"
        raise ValueError(message)
    ones = itertools.repeat(1, spatial_dims)
    return torch.tensor(anisotropy, device=like.device, dtype=torch.float32).reshape(1, -1, *ones)
