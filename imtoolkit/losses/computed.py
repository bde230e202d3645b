"""A loss that the net computes by itself, as one term among others."""

from __future__ import annotations

from torch import Tensor, nn


class ComputedLoss(nn.Module):
    """The number that a net returns under the name ``prediction`` of the term.

    A net that regularises itself (the divergence of a variational net, the commitment of a
    quantised one) returns the number beside its outputs, in a dict. Whole images are predicted tile
    by tile, where the number has no meaning: there the term is left out.

    Shape:
        A number ``()``, or one for each image ``(B,)``, of which the mean is taken.

    Example:
        >>> import torch
        >>> ComputedLoss()(torch.tensor([1.0, 3.0])).item()
        2.0
    """

    needs_target = False
    computed = True
    own_form = True

    def forward(self, prediction: Tensor, target: Tensor | None = None) -> Tensor:
        """See the class.

        Raises:
            ValueError: If it is neither a number nor one for each image.
        """
        del target  # the net knew it, or needed none
        if prediction.ndim > 1 or prediction.numel() == 0:
            message = (
                f"got {tuple(prediction.shape)}; expected a number that the net computed, or one "
                "for each image. Name that output by 'prediction'"
            )
            raise ValueError(message)
        return prediction.float().mean()
