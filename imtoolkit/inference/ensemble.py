"""What several models say of one image, brought together: the average, or the majority.

Pure functions of probabilities and values; which of them an output needs is the business of the
callers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import torch
from torch import Tensor

VOTES: Final = ("average", "majority")
"""How members are brought together."""
_LEAST: Final = 1e-12
_TIE: Final = 1e-3  # less than a vote of any ensemble in sight, so that it decides ties alone


def average(members: Iterable[Tensor]) -> Tensor:
    """Return the mean of probabilities or values, float32; one member is held at a time.

    Raises:
        ValueError: If there is no member, or two differ in shape.

    Example:
        >>> average([torch.tensor([0.25, 0.75]), torch.tensor([0.75, 0.25])]).tolist()
        [0.5, 0.5]
    """
    total, count = None, 0
    for one in members:
        total = one.float() if total is None else _fitting(total, one) + one.float()
        count += 1
    if total is None:
        message = "there are no members to average"
        raise ValueError(message)
    return total / count


def majority_of_classes(members: Iterable[Tensor], axis: int = 0) -> Tensor:
    """Return the share of the votes for each class; the largest is the class that most members say.

    Ties are decided by the average probability, of which the result holds a thousandth.

    Args:
        members: Probabilities of the classes, equal in shape.
        axis: Axis of the classes.

    Example:
        >>> members = [torch.tensor([0.9, 0.1]), torch.tensor([0.4, 0.6]), torch.tensor([0.4, 0.6])]
        >>> majority_of_classes(members).argmax().item(), average(members).argmax().item()
        (1, 0)
    """
    return _votes(
        members, lambda one: torch.zeros_like(one).scatter(axis, one.argmax(axis, True), 1.0)
    )


def majority_of_labels(members: Iterable[Tensor], threshold: float = 0.5) -> Tensor:
    """Return for each label the share of the members that say it; ties are decided as for classes.

    Args:
        members: Probability of each label, equal in shape.
        threshold: Probability from which a member says a label.
    """
    return _votes(members, lambda one: (one >= threshold).float())


def median(members: Iterable[Tensor]) -> Tensor:
    """Return the median of values: what the majority is for numbers and pixels.

    Of an even number of members it is the mean of the two in the middle.
    """
    values = [one.float() for one in members]
    if not values:
        message = "there are no members to bring together"
        raise ValueError(message)
    for one in values[1:]:
        _fitting(values[0], one)
    ordered = torch.stack(values).sort(0).values
    return (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2


def logits_of(probabilities: Tensor, *, exclusive: bool = True) -> Tensor:
    """Return logits that have these probabilities.

    Args:
        probabilities: Of classes that exclude each other (softmax), or of labels (sigmoid).
        exclusive: Which of the two.

    Example:
        >>> chances = torch.tensor([0.2, 0.8])
        >>> logits_of(chances).softmax(0).allclose(chances)
        True
    """
    if exclusive:
        return probabilities.clamp_min(_LEAST).log()
    return torch.logit(probabilities.double(), eps=_LEAST)


def _votes(members: Iterable[Tensor], vote: Callable[[Tensor], Tensor]) -> Tensor:
    share, mean, count = None, None, 0
    for one in members:
        chances = one.float()
        said = vote(chances)
        share = said if share is None else _fitting(share, said) + said
        mean = chances if mean is None else mean + chances
        count += 1
    if share is None or mean is None:
        message = "there are no members to bring together"
        raise ValueError(message)
    return ((1 - _TIE) * share + _TIE * mean) / count


def _fitting(first: Tensor, other: Tensor) -> Tensor:
    if first.shape != other.shape:
        message = f"the members differ in shape: {list(first.shape)} and {list(other.shape)}"
        raise ValueError(message)
    return first
