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
    activation: Optional[str] = None
    """Applied to the prediction first: `softmax`, `sigmoid`, `tanh`, `relu` or `exp`."""
    channels: Optional[list[int]] = None
    """Channels of the target (and of the prediction, where it has as many) that the term reads."""
    resize_target: bool = False
    """Bring target and cost map to the size of the prediction where they differ, labels by the nearest pixel."""


@dataclass(frozen=True)
class WeightGroup:
    """Weights that are trained otherwise than the rest."""

    weights: list[str]
    """Patterns of weight names, such as `nets.net.backbone.*`; the first group that fits counts."""
    lr: Optional[float] = None
    """Learning rate of these weights; a schedule scales it as it scales the rest."""
    weight_decay: Optional[float] = None
    """Weight decay of these weights."""
    params: dict[str, Any] = field(default_factory=dict)
    """Other options of the optimizer for these weights, such as `betas`."""


@dataclass(frozen=True)
class OptimizerConfig(Component):
    """An optimizer, and what differs between weights."""

    groups: list[WeightGroup] = field(default_factory=list)
    """Learning rate, decay and other options by patterns of weight names."""
    layer_decay: Optional[float] = None
    """Factor from each block of the net to the one before it, such as 0.75: early blocks learn slowly."""
    decay_all: bool = False
    """Decay norms, biases and embeddings as well."""


@dataclass(frozen=True)
class SchedulerConfig(Component):
    """A learning-rate schedule."""

    interval: Optional[str] = None
    """`step` or `epoch`: how often it steps. Left out, it is what the schedule is made for."""
    monitor: Optional[str] = None
    """Metric that `plateau` (torch's `ReduceLROnPlateau`) watches, for example `val/dice`."""
