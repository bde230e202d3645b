"""The section ``task``: what is learnt; a category adds its own fields.

A new category is a dataclass here, or in a file of its own, and a line in `categories`.
"""

from dataclasses import dataclass, field
from typing import Optional

from .components import Component, LossTerm, OptimizerConfig, SchedulerConfig
from .objects import BoundaryConfig, DistanceConfig


@dataclass(frozen=True)
class StartConfig:
    """Weights to start from: those of another run."""

    run: str
    """Run folder, prefix of its id, `latest`, or a checkpoint file."""
    checkpoint: str = "best"
    """`best`, `last`, or `best-<metric>`."""
    exclude: list[str] = field(default_factory=list)
    """Patterns of weight names to leave as initialised, such as `*.final.*`."""
    include: Optional[list[str]] = None
    """Patterns of the names (here) of the weights to load, such as `nets.net.backbone.*`; left out, all."""
    rename: dict[str, str] = field(default_factory=dict)
    """Beginning of names there -> beginning of names here, such as `nets.net.: nets.net.backbone.`."""
    optimizer: bool = False
    """Take over the optimizer's state (its moments) of the loaded weights as well."""


@dataclass(frozen=True)
class TaskConfig:
    """What is learnt; `category` chooses the fields that a task adds to these."""

    category: str
    """Kind of task: `segmentation`, `classification`, `regression`, `enhancement`, `noise2void`, `multitask`, `embedseg`, `pix2pix`, `cyclegan`, `probabilistic_unet`, or one of your own."""
    nets: dict[str, Component] = field(default_factory=dict)
    """Net for each role of the task; `net:` alone is the single entry."""
    losses: dict[str, LossTerm] = field(default_factory=dict)
    """Named terms of the loss; `loss:` alone is the single entry."""
    optimizers: dict[str, OptimizerConfig] = field(default_factory=dict)
    """Optimizer for each role; `optimizer:` alone is the single entry."""
    schedulers: dict[str, SchedulerConfig] = field(default_factory=dict)
    """Learning-rate schedule for each role; `scheduler:` alone is the single entry."""
    metrics: Optional[list[Component]] = None
    """Metrics computed for each image; left out, those of the category."""
    start_from: Optional[StartConfig] = None
    """Fine-tune: load the weights that fit from another run, and report the rest."""
    freeze: list[str] = field(default_factory=list)
    """Patterns of weight names that are not trained, such as `nets.net.model.0.*`."""
    compile: bool = False
    """Compile the nets with `torch.compile`."""


@dataclass(frozen=True)
class SegmentationConfig(TaskConfig):
    """Semantic segmentation: a class for each pixel, 2D or 3D."""

    classes: list[str] = field(default_factory=list)
    """Names of the classes in the order of their labels, background first."""
    class_weights: Optional[list[float]] = None
    """Weight of each class in the losses that take weights."""
    deep_supervision: bool = False
    """Train on the decoder's lower resolutions as well; the net must offer it (DynUNet)."""
    surface_tolerance: float = 1.0
    """Distance, in physical units where known and pixels otherwise, within which a surface counts as met."""
    instances: Optional[BoundaryConfig] = None
    """Learn objects instead, out of targets that number them: `{boundary: 1}`. The classes are then background, inside and boundary; `inference.postprocess` makes objects of them."""


@dataclass(frozen=True)
class ClassificationConfig(TaskConfig):
    """A class for each image, or any number of classes, 2D or 3D."""

    classes: list[str] = field(default_factory=list)
    """Names of the classes, as the table has them; numbers in the table count from 0 in this order."""
    multilabel: bool = False
    """An image may have any number of the classes: `a;b` in the table."""
    class_weights: Optional[list[float]] = None
    """Weight of each class in the losses that take weights."""
    label_smoothing: float = 0.0
    """How much of each label is spread over the other classes in the default loss."""


@dataclass(frozen=True)
class RegressionConfig(TaskConfig):
    """A number for each image, or several, 2D or 3D."""

    columns: list[str] = field(default_factory=list)
    """Columns of the table that hold the numbers; left out, the target column of the source."""
    standardize: bool = True
    """Let the net predict in units of the training spread around the training mean."""


@dataclass(frozen=True)
class EnhancementConfig(TaskConfig):
    """Another image for each image: denoising, deblurring, super-resolution, label-free prediction, modality transfer."""

    residual: bool = False
    """The net predicts what is added to the image; needs as many channels out as in."""
    complex_channels: bool = False
    """Channels are pairs of real and imaginary part; metrics and pictures show the magnitude."""
    data_range: Optional[list[float]] = None
    """Smallest and largest value of the targets, such as `[0, 1]`: predictions are clamped to it, and PSNR and SSIM count from it; left out, each target's own range."""
    instances: Optional[DistanceConfig] = None
    """Learn objects, out of targets that number them, as the distance to their edge: `{normalize: true}`; `inference.postprocess` makes objects of it."""


@dataclass(frozen=True)
class Noise2VoidConfig(EnhancementConfig):
    """Denoising learnt from noisy images alone, by predicting hidden pixels from their neighbours."""

    masked: float = 0.02
    """Fraction of the pixels of a patch that are hidden at a time."""
    radius: int = 2
    """How far away, in pixels, the value may come from that a hidden pixel is given."""
    replace: str = "uniform"
    """What a hidden pixel is given: the value of a `uniform`ly drawn neighbour, or the `median` of them (N2V2)."""


@dataclass(frozen=True)
class HeadConfig:
    """What one output of a net of several heads learns."""

    kind: str
    """`segmentation`, `classification`, `regression` or `enhancement`."""
    classes: list[str] = field(default_factory=list)
    """Names of the classes, where the kind has classes."""
    class_weights: Optional[list[float]] = None
    """Weight of each class in the losses that take weights."""
    multilabel: bool = False
    """Whether an image may have several classes."""
    columns: list[str] = field(default_factory=list)
    """Columns of the table that hold the labels or numbers; left out, the column of the head's name. Segmentation and enhancement read the target image."""
    channels: Optional[list[int]] = None
    """Channels of the target image that a segmentation or enhancement reads; left out, all."""
    metrics: Optional[list[Component]] = None
    """Metrics of this head; left out, those of its kind."""
    postprocess: Optional[list[Component]] = None
    """Steps from this output of the net to its result, as `inference.postprocess`; of a segmentation or enhancement."""


@dataclass(frozen=True)
class MultitaskConfig(TaskConfig):
    """Several heads on one net, image-level and dense together; each learns what it has labels for."""

    heads: dict[str, HeadConfig] = field(default_factory=dict)
    """What each named output of the net learns; loss terms name it as their `prediction`."""
