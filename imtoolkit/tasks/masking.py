"""Losses that see labelled samples only: a missing label is no label, and no NaN."""

from __future__ import annotations

from torch import Tensor, nn

from .goals.classes import known_entries


class LabelledOnly(nn.Module):
    """A loss of what is known: images without a label are left out of the batch.

    Where a batch holds no label at all the loss is zero, with a gradient of zero for each weight:
    distributed training waits for the gradients of all.

    Args:
        loss: ``loss(prediction, target, weight=None)``.
        dense: Whether there is a value for each pixel; images whose cost map is zero everywhere
            count as unlabelled then. Cost maps are for pixels, so that other losses see none.

    Example:
        >>> import torch
        >>> from torch.nn.functional import cross_entropy
        >>> loss = LabelledOnly(nn.CrossEntropyLoss(), dense=False)
        >>> logits, target = torch.randn(3, 2), torch.tensor([1, -100, 0])
        >>> torch.equal(loss(logits, target), cross_entropy(logits[[0, 2]], target[[0, 2]]))
        True
        >>> float(loss(logits, torch.full((3,), -100)))
        0.0
    """

    def __init__(self, loss: nn.Module, *, dense: bool) -> None:
        super().__init__()
        self.loss = loss
        self.dense = dense

    def forward(
        self, prediction: Tensor, target: Tensor | None, weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss as a scalar."""
        found: Tensor
        if target is None:  # the loss needs none
            found = self.loss(prediction, None, weight)
        elif self.dense:
            found = self._of_pixels(prediction, target, weight)
        else:
            found = self._of_images(prediction, target)
        return found

    def _of_pixels(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        if weight is None:
            return self.loss(prediction, target)  # type: ignore[no-any-return]
        known = weight.flatten(1).any(1)  # (B,)
        if not bool(known.any()):
            return _nothing(prediction)
        kept = weight[known]
        # a map of ones stands beside missing targets, and not every loss takes a map
        weighted = {} if bool((kept == 1).all()) else {"weight": kept}
        return self.loss(prediction[known], target[known], **weighted)  # type: ignore[no-any-return]

    def _of_images(self, prediction: Tensor, target: Tensor) -> Tensor:
        known = known_entries(target)  # (B,) or (B, K)
        if bool(known.all()):
            return self.loss(prediction, target)  # type: ignore[no-any-return]
        if not bool(known.any()):
            return _nothing(prediction)
        rows = known if known.ndim == 1 else known.any(1)
        prediction, target, known = prediction[rows], target[rows], known[rows]
        if not bool(known.all()):  # several numbers, of which some are known
            prediction, target = prediction[known][:, None], target[known][:, None]
        return self.loss(prediction, target)  # type: ignore[no-any-return]


def _nothing(prediction: Tensor) -> Tensor:
    return (prediction.float() * 0.0).sum()
