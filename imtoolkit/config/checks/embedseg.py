"""What the fields of spatial embeddings must be, and how large images go by blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from imtoolkit.core.errors import Problem

from .values import Values


def _numbers(values: Values) -> Iterator[Problem]:
    if values.get("task.category") != "embedseg":
        return
    for name, usual in (("object_radius", 10), ("grid", 1024)):
        value = values.get(f"task.{name}")
        if value is not None and value <= 0:
            message = f"is a length in pixels above 0, such as {usual}; got {value}"
            yield values.place(f"task.{name}").problem(message)
    sizes = values.get("task.anisotropy")
    if sizes is not None and (len(sizes) not in (2, 3) or min(sizes) <= 0):
        message = (
            "expects the size of a pixel along [Z,] Y, X relative to that along X, such as "
            f"[4, 1, 1]; got {sizes}"
        )
        yield values.place("task.anisotropy").problem(message)
    if values.get("inference.probabilities"):
        message = "embeddings have no probabilities of classes: leave it out"
        yield values.place("inference.probabilities").problem(message)


def _blocks(values: Values) -> Iterator[Problem]:
    block, overlap = values.get("inference.block"), values.get("inference.block_overlap")
    for name, sides, least in (("block", block, 1), ("block_overlap", overlap, 0)):
        if sides is not None and (len(sides) not in (2, 3) or min(sides) < least):
            message = f"expects [Y, X] or [Z, Y, X] in pixels, got {sides}"
            yield values.place(f"inference.{name}").problem(message)
            return
    if overlap is None:
        return
    place = values.place("inference.block_overlap")
    if block is None:
        yield place.problem("belongs to inference.block, the size of the blocks: give it as well")
    elif len(block) != len(overlap):
        yield place.problem(f"{overlap} has another number of sides than the block, {block}")
    elif any(shared >= side for side, shared in zip(block, overlap, strict=True)):
        yield place.problem(f"must be less than the block, {block}; got {overlap}")


CHECKS: Final = (_numbers, _blocks)
"""All of them, in the order in which they are made."""
