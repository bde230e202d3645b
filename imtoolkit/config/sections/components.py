"""Parts chosen by name: what every section is made of."""

from dataclasses import dataclass, field
from typing import Any, Optional


@dataclass(frozen=True)
class Component:
    """A part chosen by name, with its parameters; a bare string stands for a name without parameters."""

    name: str
    """Name of a built-in, of a class in the known namespaces, or a dotted path."""
    params: dict[str, Any] = field(default_factory=dict)
    """Parameters of the class or function, checked against its signature."""


@dataclass(frozen=True)
class LossTerm(Component):
    """One term of the loss; the loss is the weighted sum of its terms."""

    weight: float = 1.0
    """Factor of this term in the sum."""
    warmup_steps: int = 0
    """Training steps (optimizer steps) during which the term counts as zero."""
    prediction: Optional[str] = None
    """Name of the net's output that the term reads; leave out where the net returns one tensor."""
    target: str = "target"
    """Key of the batch that the term compares with."""


@dataclass(frozen=True)
class SchedulerConfig(Component):
    """A learning-rate schedule."""

    interval: Optional[str] = None
    """`step` or `epoch`: how often it steps. Left out, it is what the schedule is made for."""
    monitor: Optional[str] = None
    """Metric that `ReduceLROnPlateau` watches, for example `val/dice`."""
