"""Fields of the tasks in which nets learn against each other."""

from dataclasses import dataclass, field
from typing import Optional

from .task import EnhancementConfig, TaskConfig


@dataclass(frozen=True)
class AdversarialConfig(TaskConfig):
    """What tasks with generators and discriminators share."""

    adversarial: str = "mse"
    """Adversarial loss: `mse` (LSGAN), `bce`, or `hinge`."""
    adversarial_weight: float = 1.0
    """Factor of the adversarial loss in the generator's loss."""
    adversarial_warmup_steps: int = 0
    """Training steps during which the generator learns without the adversarial loss, while the discriminator learns already."""
    label_smoothing: float = 0.0
    """What is taken off the label 1 of real images, such as 0.1; `hinge` has no labels."""
    feature_matching_weight: float = 0.0
    """Factor of the difference of real and made images in the layers of the discriminator; pix2pixHD takes 10."""
    r1_weight: float = 0.0
    """Factor of the R1 penalty on the discriminator's gradient at real images; 0 computes none."""
    discriminator_steps: int = 1
    """Steps of the discriminator for one of the generator, each with new images."""
    gradient_clip: dict[str, float] = field(default_factory=dict)
    """Clipping by role, such as `{discriminator: 1.0}`, in place of `trainer.gradient_clip_val`; 0 for none."""
    init: Optional[str] = None
    """How the first weights of all nets are drawn: `normal`, `xavier`, `kaiming` or `orthogonal`; left out, as each net does it."""
    init_gain: Optional[float] = None
    """Factor on these weights; for `normal` their standard deviation, 0.02 where left out."""


@dataclass(frozen=True)
class Pix2PixConfig(AdversarialConfig, EnhancementConfig):
    """Another image for each image, with a discriminator that sees both: pix2pix and pix2pixHD."""

    reconstruction_weight: float = 100.0
    """Factor of the sum of `losses:` in the generator's loss; left out, `losses:` is the L1 difference."""
