"""Weights of one net put into another as far as they fit, with a report of what did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from imtoolkit.core.errors import RunError, did_you_mean, listed

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
        outside: Names of the net that no pattern of ``include`` fits; they stay as initialised.
        renamed: ``(name there, name here)`` of what was loaded under another name.
        moments: Names of the weights whose state in the optimizer was taken over.
        notes: What else is worth knowing, such as an optimizer's state that could not be used.
    """

    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    mismatched: tuple[tuple[str, Shape, Shape], ...] = ()
    excluded: tuple[str, ...] = field(default=())
    outside: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    moments: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = f", {len(self.renamed)} of them under another name" if self.renamed else ""
        lines = [f"loaded {len(self.loaded)} tensors{named}"]
        if self.moments:
            lines.append(f"  with the optimizer's state of {len(self.moments)} weights")
        for name, ours, theirs in self.mismatched:
            lines.append(
                f"  not loaded, shapes differ: {name}: here {list(ours)}, there {list(theirs)}"
            )
        for title, names in (
            ("not loaded, absent there", self.missing),
            ("not used, absent here", self.unused),
            ("left out as asked", self.excluded),
            ("not asked for", self.outside),
        ):
            if names:
                lines.append(f"  {title}: {listed(names)}")
        lines += [f"  note: {note}" for note in self.notes]
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
            "outside": list(self.outside),
            "renamed": [{"there": there, "here": here} for there, here in self.renamed],
            "moments": list(self.moments),
            "notes": list(self.notes),
        }


def load_matching(
    module: nn.Module,
    state: Mapping[str, Any],
    exclude: Sequence[str] = (),
    *,
    include: Sequence[str] | None = None,
    rename: Mapping[str, str] | None = None,
) -> LoadReport:
    """Load each tensor whose name and shape agree; leave the others as they are.

    Args:
        module: Where the weights go; changed in place.
        state: Names and tensors.
        exclude: Patterns of names, such as ``"*.final.*"``, that are not loaded.
        include: Patterns of the names here that are loaded; left out, all.
        rename: Beginning of names there -> beginning here; of several that fit, the longest counts.

    Raises:
        RunError: If nothing fits at all, or ``include`` or ``rename`` fit no name.

    Example:
        >>> state = {"weight": torch.zeros(1, 2), "bias": torch.zeros(3)}
        >>> report = load_matching(nn.Linear(2, 1), state)
        >>> report.loaded, report.mismatched
        (('weight',), (('bias', (1,), (3,)),))
    """
    own = module.state_dict()
    names = renamed(state, rename or {})
    _check_include(include, own)
    state = {here: state[there] for there, here in names.items()}
    outside = tuple(name for name in own if include is not None and not _fits(name, include))
    excluded = tuple(name for name in own if _fits(name, exclude) and name not in outside)
    asked = [name for name in own if name not in {*excluded, *outside}]
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
        outside=outside,
        renamed=tuple((a, b) for a, b in names.items() if a != b and b in fitting),
        notes=_unused_patterns(exclude, own),
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


def renamed(names: Iterable[str], rename: Mapping[str, str]) -> dict[str, str]:
    """Return name there -> name here.

    Args:
        names: Names there.
        rename: Beginning there -> beginning here; of several that fit, the longest counts.

    Raises:
        RunError: If a beginning fits no name, or two names become one.

    Example:
        >>> renamed(["net.a", "net.b.c"], {"net.": "back.", "net.b.": "head."})
        {'net.a': 'back.a', 'net.b.c': 'head.c'}
    """
    found: dict[str, str] = {}
    used: set[str] = set()
    for name in names:
        fitting = [start for start in rename if name.startswith(start)]
        start = max(fitting, key=len, default="")
        used.update(fitting)
        found[name] = rename.get(start, "") + name[len(start) :] if fitting else name
    for start in rename:
        if start not in used:
            hint = did_you_mean(start, _starts(found))
            message = (
                f"rename: no name there begins with '{start}'.{hint} They are called "
                f"{listed(list(found), 3)}"
            )
            raise RunError(message)
    counts = Counter(found.values())
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice and rename:
        message = f"rename: two weights there would be called {listed(twice, 3)} here"
        raise RunError(message)
    return found


def _check_include(include: Sequence[str] | None, own: Mapping[str, Any]) -> None:
    for pattern in include or ():
        if not any(fnmatchcase(name, pattern) for name in own):
            wholes = [f"{start}*" for start in _starts(own)]
            message = (
                f"include: the pattern '{pattern}' fits no weight here."
                f"{did_you_mean(pattern, [*own, *wholes])} They are called {listed(list(own), 3)}"
            )
            raise RunError(message)


def _unused_patterns(exclude: Sequence[str], own: Mapping[str, Any]) -> tuple[str, ...]:
    idle = [item for item in exclude if not any(fnmatchcase(name, item) for name in own)]
    return tuple(f"exclude: the pattern '{item}' fits no weight here" for item in idle)


def _starts(names: Iterable[str]) -> list[str]:
    """Return what names of modules begin with, such as ``nets.net.``."""
    parts = [name.split(".") for name in names]
    return sorted({".".join(part[:n]) + "." for part in parts for n in range(1, len(part))})


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
