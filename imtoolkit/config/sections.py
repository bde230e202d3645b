"""The sections of a config as frozen dataclasses; each field is documented where it stands.

Annotations are real types on purpose (no ``from __future__ import annotations``, no ``int | None``):
pyrallis reads them at run time and understands ``Optional``, ``Union`` and plain ``Enum`` only.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional, Union

# --- components -----------------------------------------------------------------------------------


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


# --- data -----------------------------------------------------------------------------------------


class Role(Enum):
    """What a named source is for."""

    all = "all"
    train = "train"
    val = "val"
    test = "test"
    naive = "naive"


@dataclass(frozen=True)
class SourceConfig:
    """One named set of images, and what it is used for."""

    source: Component
    """Where the images come from: `folder`, `csv`, `datalist`, `nnunet`, `class_folders`, `npz`, `arrays`, `unpaired`."""
    role: Role = Role.all
    """`all` is split by `data.split`; the others go to one use as a whole; `naive` is a test set of unseen groups."""
    weight: float = 1.0
    """How often samples of this source are drawn for training, relative to the other sources."""


@dataclass(frozen=True)
class SplitConfig:
    """How images are divided; drawn once and written to `splits.csv`."""

    val: Union[float, int] = 0.2
    """Fraction (below 1) or number of images for validation."""
    test: Union[float, int] = 0.0
    """Fraction or number of images for the final test."""
    naive: Union[float, int] = 0.0
    """Fraction or number of *groups* kept as a test set of unseen subjects; needs `group_by`."""
    group_by: Optional[str] = None
    """Column (or `parent` for the folder) whose equal values never part: patient, slide, plate."""
    stratify_by: Optional[str] = None
    """Column whose values shall be equally frequent in all splits."""
    folds: Optional[int] = None
    """Number of cross-validation folds; validation is then fold number `fold`, and `val` is not used."""
    fold: int = 0
    """Which fold validates, counted from 0."""
    file: Optional[str] = None
    """CSV with the columns `id` (or `group`) and `split` that decides instead."""
    seed: Optional[int] = None
    """Seed of the draw; the run's seed when left out."""


@dataclass(frozen=True)
class PatchConfig:
    """What part of an image the net sees at a time in training."""

    size: Optional[list[int]] = None
    """Size `[Z,] Y, X` in pixels; left out, whole images are used."""
    per_image: int = 1
    """Patches drawn from an image at each visit; an epoch has images x per_image patches."""
    foreground: float = 0.0
    """Fraction of patches that are centred on a labelled pixel, classes in turn."""


@dataclass(frozen=True)
class LoaderConfig:
    """How samples become batches."""

    batch_size: int = 8
    """Patches (or images) in a training batch."""
    samples_per_epoch: Optional[int] = None
    """Images visited in an epoch; left out, all of them. Smaller visits a part, larger repeats."""
    balance_by: Optional[str] = None
    """Column of the table whose values are drawn equally often."""
    workers: Optional[int] = None
    """Worker processes; left out, chosen together with the threads from the cores at hand."""
    prefetch: int = 2
    """Batches that each worker prepares ahead."""
    pin_memory: Optional[bool] = None
    """Page-locked memory for the way to a GPU; left out, on where there is a GPU."""


class CacheKind(Enum):
    """Where preprocessed images are kept."""

    persistent = "persistent"
    memory = "memory"
    none = "none"


@dataclass(frozen=True)
class CacheConfig:
    """Where preprocessed images are kept."""

    kind: CacheKind = CacheKind.persistent
    """`persistent` on disk and memory-mapped, `memory` for small sets, `none` to compute each time."""
    root: Optional[str] = None
    """Folder of the cache; left out, `IMTOOLKIT_CACHE`, the user's settings, or the user's cache folder."""


@dataclass(frozen=True)
class DataConfig:
    """Images, and what is done to them before the net sees them."""

    sources: dict[str, SourceConfig]
    """Named sources; `source:` alone is the single entry."""
    axes: Optional[str] = None
    """Axes of the image files, such as `YX`, `YXC`, `ZYX`, `CZYX`; left out, as the files say. A `Z` makes it 3D."""
    target_axes: Optional[str] = None
    """Axes of the target files; left out, those of the image without `C`."""
    channels: Optional[list[Union[int, str]]] = None
    """Channels of the image to use, by number or name; left out, all."""
    scene: Optional[Union[int, str]] = None
    """Scene of multi-scene files, by number or name; left out, the first, and a file with several is an error."""
    time: Optional[int] = None
    """Time point of time-lapse files; left out, a file with several is an error."""
    z_range: Optional[list[int]] = None
    """First and past-the-last slice to read, such as `[10, 20]`; left out, all."""
    reader: Optional[Component] = None
    """Reader of the images; left out, chosen by suffix."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """How images are divided into training, validation and test."""
    preprocess: list[Component] = field(default_factory=list)
    """Deterministic transforms; their result is cached."""
    patch: PatchConfig = field(default_factory=PatchConfig)
    """What part of an image the net sees at a time."""
    augment: list[Component] = field(default_factory=list)
    """Random transforms, for training only."""
    cache: CacheConfig = field(default_factory=CacheConfig)
    """Where preprocessed images are kept."""
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    """How samples become batches."""


# --- task -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StartConfig:
    """Weights to start from: those of another run."""

    run: str
    """Run folder, prefix of its id, `latest`, or a checkpoint file."""
    checkpoint: str = "best"
    """`best`, `last`, or `best-<metric>`."""
    exclude: list[str] = field(default_factory=list)
    """Patterns of weight names to leave as initialised, such as `*.final.*`."""


@dataclass(frozen=True)
class TaskConfig:
    """What is learnt; `category` chooses the fields that a task adds to these."""

    category: str
    """Kind of task: `segmentation`."""
    nets: dict[str, Component] = field(default_factory=dict)
    """Net for each role of the task; `net:` alone is the single entry."""
    losses: dict[str, LossTerm] = field(default_factory=dict)
    """Named terms of the loss; `loss:` alone is the single entry."""
    optimizers: dict[str, Component] = field(default_factory=dict)
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


# --- training, prediction, evaluation -------------------------------------------------------------


@dataclass(frozen=True)
class EmaConfig:
    """Exponential moving average of the weights, used for validation, test and prediction."""

    decay: float = 0.999
    """How much of the average is kept at each optimizer step."""
    warmup: bool = True
    """Let the decay grow from 0 with the steps, so that the first ones are forgotten."""


@dataclass(frozen=True)
class EarlyStoppingConfig:
    """Stop when a metric no longer gets better."""

    patience: int = 10
    """Validations without improvement before training stops."""
    monitor: Optional[str] = None
    """Metric to watch; left out, the first of `checkpoint.monitor`."""
    min_delta: float = 0.0
    """Smallest change that counts as an improvement."""


@dataclass(frozen=True)
class CheckpointConfig:
    """Which states of the training are kept."""

    monitor: Optional[list[str]] = None
    """Metrics of which the best state is kept; left out, the category's main metric. The first decides `best.ckpt`."""
    every_epochs: int = 1
    """Write `last.ckpt` after so many epochs."""
    every_steps: Optional[int] = None
    """Write `last.ckpt` also after so many optimizer steps, in the middle of an epoch."""
    every_minutes: Optional[float] = None
    """Write `last.ckpt` also after so many minutes, in the middle of an epoch."""


@dataclass(frozen=True)
class PicturesConfig:
    """Pictures of image, target and prediction, drawn as training goes."""

    every_epochs: int = 5
    """Draw after so many epochs, and after the last; 0 draws none."""
    count: int = 4
    """Validation images in a picture."""


@dataclass(frozen=True)
class TrainerConfig:
    """How long and on what it trains; every argument of `pytorch_lightning.Trainer` may stand here."""

    max_epochs: Optional[int] = None
    """Passes over the training images; left out, 100, unless `max_steps` or `max_time` ends it."""
    max_steps: int = -1
    """Optimizer steps; -1 for no limit."""
    max_time: Optional[str] = None
    """Wall-clock limit `DD:HH:MM:SS`."""
    min_epochs: Optional[int] = None
    """Epochs that early stopping may not cut."""
    min_steps: Optional[int] = None
    """Optimizer steps that early stopping may not cut."""
    accelerator: str = "auto"
    """`auto`, `cpu`, `gpu`, `cuda`, `mps` or `tpu`."""
    devices: Union[int, str, list[int]] = 1
    """Number of devices (or processes on a CPU), a list of their numbers, or `auto`."""
    num_nodes: int = 1
    """Machines that take part."""
    strategy: str = "auto"
    """How devices share the work: `auto`, `ddp`, `fsdp`, `deepspeed`, ..."""
    precision: Optional[Union[int, str]] = None
    """`32-true`, `bf16-mixed`, `16-mixed`, ...; left out, bf16-mixed on a GPU that has it and 32-true elsewhere."""
    accumulate_grad_batches: int = 1
    """Batches whose gradients are added before the optimizer steps."""
    gradient_clip_val: Optional[float] = None
    """Largest norm (or value) of the gradient."""
    gradient_clip_algorithm: Optional[str] = None
    """`norm` or `value`."""
    check_val_every_n_epoch: Optional[int] = 1
    """Validate after so many epochs."""
    val_check_interval: Optional[Union[int, float]] = None
    """Validate within an epoch, after this fraction of it or this many batches."""
    limit_train_batches: Optional[Union[int, float]] = None
    """Use only a part of the training batches: a number, or a fraction."""
    limit_val_batches: Optional[Union[int, float]] = None
    """Use only a part of the validation images."""
    limit_test_batches: Optional[Union[int, float]] = None
    """Use only a part of the test images."""
    limit_predict_batches: Optional[Union[int, float]] = None
    """Use only a part of the images to predict."""
    overfit_batches: Union[int, float] = 0.0
    """Train on so few batches again and again, and validate on their images: can the net learn at all?"""
    fast_dev_run: Union[bool, int] = False
    """Run this many batches of everything and keep nothing."""
    num_sanity_val_steps: Optional[int] = 0
    """Validation batches tried before training; `imtoolkit check` does more."""
    log_every_n_steps: Optional[int] = None
    """Log training values after so many steps; left out, once an epoch or every 50 steps, whichever is sooner."""
    enable_progress_bar: Optional[bool] = None
    """Show a progress bar; left out, where a terminal is attached."""
    enable_model_summary: Optional[bool] = None
    """Print the layers of the nets."""
    deterministic: Optional[Union[bool, str]] = None
    """Use only deterministic algorithms; `warn` warns where there are none."""
    benchmark: Optional[bool] = None
    """Let cuDNN time its algorithms; good where all patches have one size."""
    inference_mode: bool = True
    """Use `torch.inference_mode` for validation and test."""
    profiler: Optional[str] = None
    """`simple`, `advanced` or `pytorch`."""
    detect_anomaly: bool = False
    """Find the operation that made a NaN; slow."""
    barebones: bool = False
    """Lightning without logging and checkpoints, for measuring."""
    sync_batchnorm: bool = False
    """Share batch-norm statistics over the devices."""
    reload_dataloaders_every_n_epochs: int = 0
    """Make the loaders anew after so many epochs."""
    threads: Optional[int] = None
    """Threads of torch in this process; left out, chosen together with the workers."""
    channels_last: bool = False
    """Keep images with the channel as the last axis in memory; faster with bf16."""
    ema: Optional[EmaConfig] = None
    """Exponential moving average of the weights; `ema: {}` takes the defaults."""
    early_stopping: Optional[EarlyStoppingConfig] = None
    """Stop when a metric no longer gets better; `early_stopping: {}` takes the defaults."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """Which states of the training are kept."""
    pictures: PicturesConfig = field(default_factory=PicturesConfig)
    """Pictures of image, target and prediction."""


class Blend(Enum):
    """How overlapping tiles are joined."""

    gaussian = "gaussian"
    constant = "constant"


@dataclass(frozen=True)
class InferenceConfig:
    """How a net is applied to whole images, in validation, test and prediction."""

    tile: Optional[list[int]] = None
    """Size of a tile `[Z,] Y, X`; left out, the patch size, or the whole image where there is none."""
    overlap: float = 0.25
    """Fraction of a tile that neighbours share."""
    blend: Blend = Blend.gaussian
    """`gaussian` trusts the middle of a tile more than its border, `constant` does not."""
    batch_size: int = 4
    """Tiles in a batch."""
    flips: bool = False
    """Average over mirrored copies in prediction and test (test-time augmentation)."""
    checkpoint: str = "best"
    """Which state predicts and is evaluated: `best`, `last`, or `best-<metric>`."""
    format: Optional[str] = None
    """Suffix of written predictions: `.ome.tif`, `.nii.gz`, `.npy`, `.png`; left out, as the input has it."""
    probabilities: bool = False
    """Write the probability of each class beside the labels."""


@dataclass(frozen=True)
class EvaluationConfig:
    """How the trained model is measured."""

    splits: list[str] = field(default_factory=lambda: ["test"])
    """Splits that are evaluated after training, where they have images: `val`, `test`, `naive`."""
    confidence: float = 0.95
    """Level of the bootstrap intervals."""
    resamples: int = 2000
    """Bootstrap samples over the images."""
    save_predictions: bool = False
    """Write the predictions of the evaluated images into the run folder."""


@dataclass(frozen=True)
class TrackingConfig:
    """Where runs are kept."""

    runs: Optional[str] = None
    """Folder of all runs; left out, `IMTOOLKIT_RUNS`, the user's settings, or `runs`."""


@dataclass(frozen=True)
class Config:
    """A whole config: everything that makes a model but the images."""

    data: DataConfig
    """Images, and what is done to them before the net sees them."""
    task: TaskConfig
    """What is learnt, with which nets, losses and optimizers."""
    name: str = "run"
    """Name of the run folder; left out, that of the file."""
    seed: int = 0
    """Seed of everything random: splits, weights, patches, augmentation."""
    config_version: int = 1
    """Version of this format; older files are read."""
    base: Optional[str] = None
    """A config to start from, relative to this file; one level."""
    plugins: list[str] = field(default_factory=list)
    """Your own modules: files relative to this one, or package names. They run only if you trust the file."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    """How long and on what it trains."""
    callbacks: list[Component] = field(default_factory=list)
    """More Lightning callbacks."""
    loggers: list[Component] = field(default_factory=list)
    """More Lightning loggers; `metrics.csv` is always written."""
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    """How a net is applied to whole images."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How the trained model is measured."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    """Where runs are kept."""


CONFIG_VERSION = 1
"""Version of the format that this release writes."""

CATEGORIES: dict[str, type[TaskConfig]] = {"segmentation": SegmentationConfig}
"""Value of `task.category` -> the dataclass that decodes the section; a new task adds one line."""
