"""Feature similarity: where two images have their edges and lines, and how strong they are."""

from __future__ import annotations

import math
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from torch import Tensor

from .filters import separable
from .images import ImageLoss, check_range, range_of, slices

SCALES: Final = 4
ORIENTATIONS: Final = 4
_SHORTEST = 6.0  # wavelength of the finest filter in pixels
_STEP = 2.0  # from one wavelength to the next
_BANDWIDTH = 0.55
_ANGULAR_WIDTH = math.pi / ORIENTATIONS / 1.2
_NOISE_WIDTHS = 2.0  # deviations of the noise that are taken off
_T1, _T2 = 0.85, 160.0  # the second for values from 0 to 255
_TINY: Final = 1e-6


class FSIMLoss(ImageLoss):
    r"""One minus the feature similarity.

    Zhang et al., "FSIM: a feature similarity index for image quality assessment", IEEE TIP 2011.
    With the phase congruency :math:`c` (Kovesi, 1999: 4 scales, 4 orientations) and the Scharr
    gradient magnitude :math:`g` of both images:

    .. math:: \mathrm{FSIM} = \frac{\sum_i S_i \max(c^p_i, c^t_i)}{\sum_i \max(c^p_i, c^t_i)}, \quad
              S = \frac{2 c^p c^t + T_1}{(c^p)^2 + (c^t)^2 + T_1}
                  \cdot \frac{2 g^p g^t + T_2}{(g^p)^2 + (g^t)^2 + T_2}

    Each channel is an image of its own, and so is each slice of a volume. Gradients at the border
    continue the image by its last pixels. Images of more than 383
    pixels along the shorter side are reduced to about 256, as in the paper.

    Args:
        data_range: Largest minus smallest value that an image can have; images are brought to 255.
            Left out, it is that of the targets in the batch.
        complex_channels: Channels are pairs of real and imaginary part; magnitudes are compared.

    Shape:
        prediction and target ``(B, C, [Z,] Y, X)``, weight ``(B, 1, [Z,] Y, X)``, which multiplies
        the maximum of the phase congruency, or ``None``; returns a scalar.

    Example:
        >>> image = torch.rand(1, 1, 32, 32)
        >>> FSIMLoss(data_range=1.0)(image, image).abs().item() < 1e-5
        True
    """

    def __init__(self, data_range: float | None = None, *, complex_channels: bool = False) -> None:
        super().__init__(complex_channels=complex_channels)
        self.data_range = check_range(data_range)

    def compare(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        """See `ImageLoss`."""
        scale = 255.0 / range_of(target, self.data_range)
        p, t = _reduced(slices(prediction) * scale), _reduced(slices(target) * scale)
        phases = phase_congruency(torch.cat([p, t])).chunk(2)
        slopes = _gradient(torch.cat([p, t])).chunk(2)
        alike = _alike(phases[0], phases[1], _T1) * _alike(slopes[0], slopes[1], _T2)
        features = torch.maximum(phases[0], phases[1])
        if weight is not None:
            features = features * _reduced(slices(weight))
        # images without any feature, such as flat ones, count as alike
        found = ((alike * features).flatten(2).sum(2) + _TINY) / (
            features.flatten(2).sum(2) + _TINY
        )
        return 1 - found.mean()


def phase_congruency(image: Tensor) -> Tensor:
    r"""Return how well the frequencies agree in phase at each pixel, from 0 to 1.

    Kovesi, "Image features from phase congruency", Videre 1999, with the noise threshold of its
    implementation: for log-Gabor filters of several scales, summed over orientations,
    :math:`\sum \max(E - T, 0) / \sum A`, where :math:`E` is the energy along the mean phase,
    :math:`A` the amplitude and :math:`T` the energy that noise would have.

    Args:
        image: ``(B, C, Y, X)``.
    """
    spectrum = torch.fft.fft2(image)
    radial, angular = _filters((image.shape[-2], image.shape[-1]), image.device)
    energies, amplitudes = [], []
    for spread in angular:
        bank = radial * spread  # (S, Y, X)
        responses = torch.fft.ifft2(spectrum[:, :, None] * bank)  # (B, C, S, Y, X)
        amplitude = (responses.real**2 + responses.imag**2 + _TINY**2).sqrt()
        energy = _energy(responses) - _noise(amplitude[:, :, 0], bank)
        energies.append(energy.clamp_min(0))
        amplitudes.append(amplitude.sum(2))
    total: Tensor = torch.stack(amplitudes).sum(0) + _TINY
    return torch.stack(energies).sum(0) / total


def _energy(responses: Tensor) -> Tensor:
    """Return the responses along the mean phase, less what is at right angles to it."""
    mean = responses.sum(2, keepdim=True)
    mean = mean / (mean.real**2 + mean.imag**2 + _TINY**2).sqrt()
    along = responses * mean.conj()
    energy: Tensor = (along.real - along.imag.abs()).sum(2)
    return energy


def _noise(finest: Tensor, bank: Tensor) -> Tensor:
    """Return the energy of noise, estimated from the finest scale, as ``(B, C, 1, 1)``."""
    size = bank.shape[-2] * bank.shape[-1]
    # `quantile` takes no large images, and `median` the smaller of two
    ordered = (finest.detach() ** 2).flatten(2).sort(dim=2).values
    squares = ordered[:, :, [(size - 1) // 2, size // 2]].mean(2)  # (B, C)
    power = squares / math.log(2) / (bank[0] ** 2).sum()
    kernels = torch.fft.ifft2(bank).real * math.sqrt(size)  # (S, Y, X)
    own = (kernels**2).sum()
    pairs = (kernels.sum(0) ** 2).sum() - own  # twice the sum over pairs of scales
    spread = (power * (2 * own + 2 * pairs) / 2).clamp_min(0).sqrt()
    mean, deviation = spread * math.sqrt(math.pi / 2), spread * math.sqrt(2 - math.pi / 2)
    energy: Tensor = (mean + _NOISE_WIDTHS * deviation) / 1.7
    return energy[..., None, None]


def _filters(shape: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return radial ``(S, Y, X)`` and angular ``(O, Y, X)`` parts of the log-Gabor filters."""
    rows = torch.fft.fftfreq(shape[0], device=device)[:, None]
    columns = torch.fft.fftfreq(shape[1], device=device)[None]
    radius = (rows**2 + columns**2).sqrt()
    safe = torch.where(radius > 0, radius, torch.ones_like(radius))
    low_pass = 1 / (1 + (radius / 0.45) ** 30)  # no corners of the spectrum
    centres = [1 / (_SHORTEST * _STEP**scale) for scale in range(SCALES)]
    width = 2 * math.log(_BANDWIDTH) ** 2
    radial = [torch.exp(-((safe / centre).log() ** 2) / width) * low_pass for centre in centres]
    theta = torch.atan2(-rows.expand(shape), columns.expand(shape))
    angular = []
    for turn in range(ORIENTATIONS):
        angle = turn * math.pi / ORIENTATIONS
        away = torch.atan2((theta - angle).sin(), (theta - angle).cos()).abs()
        angular.append(torch.exp(-(away**2) / (2 * _ANGULAR_WIDTH**2)))
    bank: Tensor = torch.stack(radial) * (radius > 0)
    return bank, torch.stack(angular)


def _gradient(image: Tensor) -> Tensor:
    step, smooth = torch.tensor([1.0, 0.0, -1.0]), torch.tensor([3.0, 10.0, 3.0]) / 16
    across, down = (
        separable(image, kernels, pad=True) for kernels in ((smooth, step), (step, smooth))
    )
    return (across**2 + down**2 + _TINY**2).sqrt()


def _alike(first: Tensor, second: Tensor, constant: float) -> Tensor:
    return (2 * first * second + constant) / (first**2 + second**2 + constant)


def _reduced(image: Tensor) -> Tensor:
    factor = max(1, round(min(image.shape[-2:]) / 256))
    return F.avg_pool2d(image, factor) if factor > 1 else image
