"""Fields of ``inference.uncertainty`` that make no sense together, or with the task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from imtoolkit.core.errors import Problem

from .values import Values

_KEY: Final = "inference.uncertainty"
_OWN_NUMBER: Final = {"flips": "mirrored copies", "ensemble": "runs (--with)"}


def _uncertainty(values: Values) -> Iterator[Problem]:
    method = values.get(f"{_KEY}.method", "auto")
    if method in _OWN_NUMBER and values.get(f"{_KEY}.samples") is not None:
        message = f"'{method}' predicts as often as there are {_OWN_NUMBER[method]}: leave it out"
        yield values.place(f"{_KEY}.samples").problem(message)
    if values.get(f"{_KEY}.perturb") and method not in ("auto", "perturb"):
        message = f"belongs to the method 'perturb', and the method is '{method}'"
        yield values.place(f"{_KEY}.perturb").problem(message)
    category = values.get("task.category")
    if method == "posterior" and category != "probabilistic_unet":
        message = (
            f"'posterior' needs samples of a probabilistic U-Net, and this is a {category}: take "
            "dropout, perturb or flips, or category: probabilistic_unet"
        )
        yield values.place(f"{_KEY}.method").problem(message)


CHECKS: Final = (_uncertainty,)
"""All of them."""
