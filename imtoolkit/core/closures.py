"""What optimizers that evaluate a batch several times ask of a training.

SAM, Sophia and LBFGS call a closure that computes loss and gradients. The closure covers one
micro-batch and is run as it stands, which rules some settings out. The table is read twice: when a
config is checked, by the dotted path of the class, and before training, by the built optimizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Limits:
    """What an optimizer can work with.

    Attributes:
        half: Whether the gradients may be those of bf16-mixed precision.
        clipping: Ways of clipping gradients that leave its steps right.
        why: Why the others do not.
    """

    half: bool = True
    clipping: tuple[str, ...] = ("norm",)
    why: str = "each evaluation would be clipped by itself, which turns the step"


_SAM: Final = Limits(why="clipping by value turns the way up; by norm it keeps its direction")
_LBFGS: Final = Limits(clipping=(), why="its line search compares true gradients")

CLOSURES: Final[dict[str, Limits]] = {
    "imtoolkit.optim.sam.SAM": _SAM,
    "imtoolkit.optim.sam.ASAM": _SAM,
    "imtoolkit.optim.sophia.Sophia": Limits(
        half=False, clipping=(), why="it compares true gradients, and bounds each step itself"
    ),
    "torch.optim.lbfgs.LBFGS": _LBFGS,
}
"""Class -> its limits; a subclass has those of its base."""

_CUTTING: Final = ("fsdp", "deepspeed", "modelparallel", "model_parallel", "xlafsdp", "xla_fsdp")

ATTRIBUTE: Final = "needs_closure"
"""Set to true by the class of an optimizer that calls the closure several times."""


def limits_of(paths: Iterable[str], *, needs_closure: bool = False) -> Limits | None:
    """Return the limits of an optimizer, or ``None`` where it has none.

    Args:
        paths: Dotted paths of its class and its bases.
        needs_closure: What its class says in `ATTRIBUTE`.

    Example:
        >>> limits_of(["torch.optim.adamw.AdamW"]) is None
        True
        >>> limits_of(["torch.optim.lbfgs.LBFGS"]).clipping
        ()
    """
    found = next((CLOSURES[path] for path in paths if path in CLOSURES), None)
    return found or (Limits() if needs_closure else None)


def conflicts(
    name: str,
    limits: Limits,
    *,
    accumulate: Any = 1,
    precision: Any = None,
    clip_value: Any = None,
    clip_algorithm: Any = None,
    strategy: Any = None,
) -> Iterator[tuple[str, str]]:
    """Yield (field of the section ``trainer``, message) of each setting that cannot work.

    Args:
        name: What messages call the optimizer.
        limits: What it can work with.
        accumulate: ``accumulate_grad_batches``.
        precision: ``precision``; ``None`` where it is not known.
        clip_value: ``gradient_clip_val``; ``None`` or 0 for no clipping.
        clip_algorithm: ``gradient_clip_algorithm``; ``None`` stands for ``norm``.
        strategy: ``strategy``, or the name of the class that it stands for.
    """
    if accumulate not in (None, 1):
        yield (
            "accumulate_grad_batches",
            f"got {accumulate}; {name} needs 1: it evaluates a batch several times in a step, "
            "and each evaluation covers one batch only. Take larger batches",
        )
    text = str(precision)
    if text in ("16", "16-mixed"):
        yield (
            "precision",
            f"got {text}; {name} needs {_precisions(limits)}: the loss scale of 16-mixed would "
            "be applied once for several evaluations",
        )
    elif not limits.half and ("16" in text or text.startswith("transformer-engine")):
        yield (
            "precision",
            f"got {text}; {name} needs {_precisions(limits)}: it takes small differences of "
            "gradients, which half precision rounds away",
        )
    if clip_value and (clip_algorithm or "norm") not in limits.clipping:
        remedy = " or ".join(f"gradient_clip_algorithm: {item}" for item in limits.clipping)
        yield (
            "gradient_clip_val",
            f"gradients of {name} cannot be clipped by {clip_algorithm or 'norm'}: {limits.why}. "
            + (f"Take {remedy}, or leave clipping out" if remedy else "Leave clipping out"),
        )

    if str(strategy).lower().startswith(_CUTTING):
        yield (
            "strategy",
            f"got {strategy}; {name} needs whole weights in each process, which fsdp, deepspeed "
            "and the like cut up. Take ddp",
        )


def _precisions(limits: Limits) -> str:
    return "32-true or bf16-mixed" if limits.half else "32-true"
