"""Goals of several heads, and the terms of their losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from imtoolkit.config.sections import HeadConfig, LossTerm
from imtoolkit.core.batch import TARGET
from imtoolkit.core.errors import ConfigError, Problem, did_you_mean, listed
from imtoolkit.core.facts import DataFacts

from .goals import ClassGoal, Goal, ImageGoal, LabelsGoal, NumbersGoal


def goal_of_head(name: str, head: HeadConfig, facts: DataFacts) -> Goal:
    """Return the goal of a head: dense ones read the target image, the others their own key.

    Raises:
        ConfigError: If the head is of no known kind, does not fit the data, or no training image
            has a label for it.
    """
    where = f"task.heads.{name}"
    _check_labelled(name, head, facts, where)
    if head.kind == "segmentation":
        _check_one_channel(head, facts, where)
        return LabelsGoal(
            facts,
            head.classes,
            class_weights=head.class_weights,
            channels=head.channels,
            name=name,
            where=where,
        )
    if head.kind == "enhancement":
        return ImageGoal(facts, channels=head.channels, name=name, where=where)
    if head.kind == "classification":
        return ClassGoal(
            facts,
            head.classes,
            multilabel=head.multilabel,
            class_weights=head.class_weights,
            name=name,
            key=name,
            where=where,
        )
    if head.kind == "regression":
        return NumbersGoal(facts, head.columns, name=name, key=name, where=where)
    message = (
        f"got '{head.kind}'; a head is a segmentation, a classification, a regression or an "
        "enhancement"
    )
    raise ConfigError(Problem(message, where=f"{where}.kind"))


def terms_of_heads(
    losses: Mapping[str, LossTerm], goals: Mapping[str, Goal]
) -> dict[str, tuple[LossTerm, Goal | None]]:
    """Return the terms of the config, and the usual term of each head that has none.

    A term that names no target compares with that of its head. A term that reads another output of
    the net than a head, such as a loss that the net computed, has no goal.

    Raises:
        ConfigError: If a term does not say which output it reads.
    """
    terms: dict[str, tuple[LossTerm, Goal | None]] = {}
    for name, term in losses.items():
        if term.prediction is None:
            known = listed(list(goals))
            hint = did_you_mean(name, goals)
            message = f"set 'prediction' to the head that the term reads: {known}.{hint}"
            raise ConfigError(Problem(message, where=f"task.losses.{name}"))
        terms[name] = (_aimed(term, goals.get(term.prediction)), goals.get(term.prediction))
    served = {term.prediction for term, _ in terms.values()}
    for head, goal in goals.items():
        if head in served:
            continue
        for usual, term in goal.default_terms().items():
            name = head if head not in terms else f"{head}_{usual}"
            terms[name] = (_aimed(replace(term, prediction=head), goal), goal)
    return terms


def _aimed(term: LossTerm, goal: Goal | None) -> LossTerm:
    own = goal is not None and term.target == TARGET
    return replace(term, target=goal.loss_key) if own and goal is not None else term


def _check_labelled(name: str, head: HeadConfig, facts: DataFacts, where: str) -> None:
    count, dense = facts.samples.get("train", 0), head.kind in ("segmentation", "enhancement")
    if not count or facts.missing.get(TARGET if dense else name, 0) < count:
        return
    source = "target images" if dense else f"column {listed(head.columns or [name])}"
    message = (
        f"none of the {count} training images has a label for this head: fill the {source}, name "
        "what holds the labels, or leave the head out"
    )
    raise ConfigError(Problem(message, where=where))


def _check_one_channel(head: HeadConfig, facts: DataFacts, where: str) -> None:
    if head.channels is None and facts.target_channels > 1:
        message = (
            f"the target images have {facts.target_channels} channels: say which one holds the "
            "labels, such as channels: [0]"
        )
        raise ConfigError(Problem(message, where=f"{where}.channels"))
