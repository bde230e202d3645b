"""Enhancement: another image for each image, of any number of channels, in 2D and 3D.

Denoising, deblurring, super-resolution (of images enlarged before), label-free prediction, modality
transfer. Learnt from pairs of noisy images it is Noise2Noise (Lehtinen et al., ICML 2018): the
expectation of the noisy target is the clean image.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from imtoolkit.config.sections import EnhancementConfig
from imtoolkit.core.errors import ConfigError, Problem
from imtoolkit.core.facts import TargetKind

from .goals import DistanceGoal, ImageGoal
from .supervised import SupervisedTask


class EnhancementTask(SupervisedTask):
    """Learns an image from an image; parameters as `SupervisedTask`.

    With ``residual`` the net learns what is added to the image: denoisers start at the identity.
    """

    category = "enhancement"
    target_kind = TargetKind.IMAGE
    config_class = EnhancementConfig
    config: EnhancementConfig
    default_loss: ClassVar[str] = "charbonnier"

    def build_goal(self) -> ImageGoal:
        """See `SupervisedTask`."""
        if self.config.instances is not None:
            return DistanceGoal(
                self.facts,
                normalize=self.config.instances.normalize,
                default_loss=self.default_loss,
            )
        goal = ImageGoal(
            self.facts,
            out_channels=self.out_channels,
            complex_channels=self.config.complex_channels,
            data_range=self.config.data_range,
            default_loss=self.default_loss,
        )
        self._check_channels(goal.out_channels)
        return goal

    @property
    def out_channels(self) -> int:
        """Channels of the output: those of the targets."""
        return self.facts.target_channels

    def finish(self, outputs: list[Tensor], image: Tensor) -> list[Tensor]:
        """See `SupervisedTask`; of several resolutions the main one counts."""
        main = outputs[0]
        return [image + main if self.config.residual else main]

    def _check_channels(self, out_channels: int) -> None:
        channels, problems = self.facts.in_channels, []
        if self.config.residual and channels != out_channels:
            message = (
                f"the images have {channels} channel(s) and the targets {out_channels}; what is "
                "added to an image has as many. Set it to false, or choose channels (data.channels)"
            )
            problems.append(Problem(message, where="task.residual"))
        if self.config.complex_channels and channels % 2:
            message = (
                f"the images have {channels} channel(s); complex data have pairs of real and "
                "imaginary part, so an even number"
            )
            problems.append(Problem(message, where="task.complex_channels"))
        if problems:
            raise ConfigError(problems)
