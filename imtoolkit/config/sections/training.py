"""The section ``trainer``: how long and on what it trains, and what is kept and drawn on the way."""

from dataclasses import dataclass, field
from typing import Optional, Union

from .components import Component


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
    schedules: dict[str, Component] = field(default_factory=dict)
    """Numbers that change with the epochs: key of the config, such as `task.losses.edge.weight` -> `linear`, `cosine`, `steps`, `exponential`, ... with their parameters."""
