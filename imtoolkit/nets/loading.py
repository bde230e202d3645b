"""Weights of one net put into another as far as they fit, with a report of what did not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from imtoolkit.core.errors import RunError, listed

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LoadReport:
    """What became of each weight.

    Attributes:
        loaded: Names that were taken over.
        missing: Names of the net that the source lacks; they stay as initialised.
        unused: Names of the source that the net lacks.
        mismatched: ``(name, shape of the net, shape of the source)``; they stay as initialised.
        excluded: Names that the user left out.
    """

    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    mismatched: tuple[tuple[str, Shape, Shape], ...] = ()
    excluded: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        lines = [f"loaded {len(self.loaded)} tensors"]
        for name, ours, theirs in self.mismatched:
            lines.append(
                f"  not loaded, shapes differ: {name}: here {list(ours)}, there {list(theirs)}"
            )
        for title, names in (
            ("not loaded, absent there", self.missing),
            ("not used, absent here", self.unused),
            ("left out as asked", self.excluded),
        ):
            if names:
                lines.append(f"  {title}: {listed(names)}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {
            "loaded": list(self.loaded),
            "missing": list(self.missing),
            "unused": list(self.unused),
            "mismatched": [
                {"name": name, "here": list(ours), "there": list(theirs)}
                for name, ours, theirs in self.mismatched
            ],
            "excluded": list(self.excluded),
        }


def load_matching(
    module: nn.Module, state: Mapping[str, Any], exclude: Sequence[str] = ()
) -> LoadReport:
    """Load each tensor whose name and shape agree; leave the others as they are.

    Args:
        module: Where the weights go; changed in place.
        state: Names and tensors.
        exclude: Patterns of names, such as ``"*.final.*"``, that are not loaded.

    Raises:
        RunError: If nothing fits at all.

    Example:
        >>> state = {"weight": torch.zeros(1, 2), "bias": torch.zeros(3)}
        >>> report = load_matching(nn.Linear(2, 1), state)
        >>> report.loaded, report.mismatched
        (('weight',), (('bias', (1,), (3,)),))
    """
    own = module.state_dict()
    excluded = tuple(name for name in own if any(fnmatchcase(name, item) for item in exclude))
    asked = [name for name in own if name not in excluded]
    found = {name: state[name] for name in asked if isinstance(state.get(name), Tensor)}
    fitting = {name: value for name, value in found.items() if value.shape == own[name].shape}
    report = LoadReport(
        loaded=tuple(fitting),
        missing=tuple(name for name in asked if name not in found),
        unused=tuple(name for name in state if name not in own),
        mismatched=tuple(
            (name, tuple(own[name].shape), tuple(value.shape))
            for name, value in found.items()
            if name not in fitting
        ),
        excluded=excluded,
    )
    weights = dict(module.named_parameters())
    # counters of batch norms fit whatever the net is: a single number each
    if not any(name in weights for name in fitting):
        shapes = "; their names agree, but no shape does" if report.mismatched else ""
        message = (
            f"none of the weights fit{shapes}. Here they are called {listed(asked, 3)}, there "
            f"{listed(list(state), 3)}. Start from a run with the same net"
        )
        raise RunError(message)
    with torch.no_grad():
        for name, value in fitting.items():
            own[name].copy_(value)  # state_dict() shares its memory with the module
    return report
