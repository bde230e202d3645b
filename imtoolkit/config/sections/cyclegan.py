"""Fields of the translation between two domains without pairs."""

from dataclasses import dataclass, field
from typing import Optional

from .adversarial import AdversarialConfig
from .task import StartConfig


@dataclass(frozen=True)
class EncoderConfig:
    """A trained run of yours whose net tells how alike images are."""

    run: str
    """Run folder, prefix of its id, or `latest`: of any category, trained on images of this domain that were preprocessed as here."""
    checkpoint: str = "best"
    """`best`, `last`, or `best-<metric>`."""
    layer: Optional[str] = None
    """Name of the layer whose output is taken, averaged over the image; left out, the last one of the lowest resolution."""


@dataclass(frozen=True)
class CycleGANConfig(AdversarialConfig):
    """Translation between two domains without pairs, both ways at once: CycleGAN."""

    cycle_weight: float = 10.0
    """Factor of the difference between an image and what comes back from the other domain; measured by `losses:`, left out the L1 difference."""
    identity_weight: float = 0.0
    """Factor of the difference that a generator makes to images that are of its own domain already, such as 5; keeps colours. Needs as many channels in both domains."""
    pool_size: int = 50
    """Translated images of each domain that are kept, so that a discriminator sees older ones as well; 0 for none."""
    direction: str = "a_to_b"
    """What a prediction makes of an image unless asked otherwise: `a_to_b` or `b_to_a`."""
    data_range: Optional[list[float]] = None
    """Smallest and largest value of the preprocessed images of both domains, such as `[0, 1]`: translations are clamped to it, and PSNR and SSIM count from it; left out, each image's own range."""
    domains: list[str] = field(default_factory=lambda: ["A", "B"])
    """What the two domains are called in pictures, such as `[fluorescence, H&E]`."""
    starts: dict[str, StartConfig] = field(default_factory=dict)
    """Weights that `generator_ab` and `generator_ba` start from: those of an enhancement, a pix2pix or another CycleGAN."""
    encoders: dict[str, EncoderConfig] = field(default_factory=dict)
    """For domain `a` and `b` a trained run whose features tell how alike real and translated images are; left out, intensities, contrasts and textures do."""
