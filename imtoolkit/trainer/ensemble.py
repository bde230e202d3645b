"""Several trained models that predict together: what they have in common, and how they vote.

Each member preprocesses an image in its own way and votes on the grid of the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from imtoolkit.core.errors import DataError, did_you_mean
from imtoolkit.core.facts import DataFacts
from imtoolkit.inference import ensemble as votes
from imtoolkit.io.picture import Picture
from imtoolkit.trainer import results
from imtoolkit.trainer.image_predictor import ImagePredictor
from imtoolkit.trainer.predictor import Predictor
from imtoolkit.trainer.results import Result

Evidence = dict[str, Tensor]


class Ensemble(ImagePredictor):
    """Trained models that predict together; the first says how images are read.

    Args:
        members: The models.
        vote: ``average`` or ``majority``.

    Raises:
        DataError: If they do not predict the same thing of the same images, with both shown.
    """

    def __init__(self, members: Sequence[Predictor], vote: str = "average") -> None:
        check_vote(vote)
        check_members(members)
        self.members = list(members)
        self.vote = vote
        first = self.members[0]
        self.run, self.config, self.task = first.run, first.config, first.task

    @property
    def facts(self) -> DataFacts:
        """See `ImagePredictor`."""
        return self.members[0].facts

    @property
    def columns(self) -> tuple[str, ...]:
        """See `ImagePredictor`."""
        return tuple(dict.fromkeys(name for one in self.members for name in one.columns))

    def results(self, picture: Picture, row: Mapping[str, Any] | None = None) -> list[Result]:
        """See `ImagePredictor`."""
        said: list[Evidence] = []
        for member in self.members:
            raw, undo = member.raw(picture, row)
            said.append(results.evidence_of(member.task, raw, undo))
            if len(said) == 1:
                place = undo
        kept = self.config.inference.probabilities
        return [
            results.result_of_evidence(
                goal,
                head,
                self._joined(head, goal, [one[head] for one in said]),
                place,
                probabilities=kept,
            )
            for head, goal in results.goals_of(self.task).items()
        ]

    def _joined(self, head: str, goal: Any, said: list[Tensor]) -> Tensor:
        try:
            return joined(goal, said, self.vote, channel_axis=0)
        except ValueError as error:
            ids = " and ".join(one.run.id for one in self.members)
            message = f"runs {ids} cannot vote{f' on {head}' if head else ''}: {error}"
            raise DataError(message) from error


def joined(goal: Any, said: Sequence[Tensor], vote: str, channel_axis: int) -> Tensor:
    """Bring together what the members say of an output.

    Args:
        goal: What the output means.
        said: Probabilities, numbers or images of each member, see `results.evidence_of`.
        vote: ``average``, or ``majority``: for numbers and images the median.
        channel_axis: Axis of the classes.

    Raises:
        ValueError: If they differ in shape.
    """
    if vote == "average":
        return votes.average(said)
    if not results.votes_on_classes(goal):
        return votes.median(said)
    if getattr(goal, "multilabel", False):
        return votes.majority_of_labels(said)
    return votes.majority_of_classes(said, channel_axis)


def check_vote(vote: str) -> None:
    """Refuse an unknown vote.

    Raises:
        DataError: With those that there are.
    """
    if vote not in votes.VOTES:
        known = " or ".join(votes.VOTES)
        message = f"got the vote '{vote}'.{did_you_mean(vote, votes.VOTES)} Expected {known}"
        raise DataError(message)


def check_members(members: Sequence[Predictor], *, same_preprocess: bool = False) -> None:
    """Refuse members that do not predict the same thing of the same images.

    Args:
        members: The models.
        same_preprocess: Whether they are given the same preprocessed images.

    Raises:
        DataError: With what differs, for both runs.
    """
    first = members[0]
    for other in members[1:]:
        ours, theirs = (_traits(one, same_preprocess) for one in (first, other))
        for trait, value in ours.items():
            if value != theirs[trait]:
                message = (
                    f"runs {first.run.id} and {other.run.id} cannot vote together: their {trait} "
                    f"differ. {first.run.id} has {value}, {other.run.id} has {theirs[trait]}"
                )
                raise DataError(message)


def _traits(member: Predictor, same_preprocess: bool) -> dict[str, str]:
    """Return in words what members must have in common."""
    facts, goals = member.facts, results.goals_of(member.task)
    traits = {
        "images": f"{facts.in_channels} channels in {facts.spatial_dims}D",
        "outputs": ", ".join(head or _in_words(goal) for head, goal in goals.items()),
    }
    for head, goal in goals.items():
        classes = ", ".join(goal.classes)
        channels = getattr(goal, "out_channels", len(goal.classes))
        name = f"classes{f' of {head}' if head else ''}"
        kind = _in_words(goal)
        traits[name] = f"{kind} ({classes})" if classes else f"{kind}, {channels} channels"
        if getattr(goal, "multilabel", False):
            traits[name] += " (multi-label)"
    if same_preprocess:
        steps = member.config.data.preprocess
        traits["preprocessing steps"] = str([(step.name, step.params) for step in steps])
        traits["tabular columns"] = ", ".join(facts.tabular) or "none"
        traits["channels that are read"] = str(member.config.data.channels or "all")
    return traits


def _in_words(goal: Any) -> str:
    """Return what an output means, also of a task that describes its goals in no other way."""
    return str(goal.describe()) if hasattr(goal, "describe") else type(goal).__name__
