"""The section ``data``: images, and what is done to them before the net sees them."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Optional, Union

from .components import Component


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
    """`all` is split by `data.split`; the others go to one use: as a whole, or with their own part of that name where the source divides itself; `naive` is a test set of unseen groups."""
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
    """Fraction of patches that are centred on a labelled pixel, classes in turn; where objects are learnt, on any pixel of each object in turn."""
    zoom: Optional[list[float]] = None
    """Smallest and largest magnification at which a patch shows the image in Y and X, such as `[0.5, 2]`; left out, always 1."""
    zoom_prob: float = 1.0
    """Fraction of patches that are zoomed."""


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
class TabularConfig:
    """A column of the table that joins the image as input."""

    column: str
    """Name of the column."""
    values: Optional[list[str]] = None
    """The texts that the column may hold, each a feature of its own; left out, the column holds numbers."""
    fill: Optional[float] = None
    """Number that stands for a gap; left out, gaps are refused. With `values`, a gap is none of them."""


class AugmentOn(Enum):
    """Where the random transforms of training run."""

    auto = "auto"
    worker = "worker"
    device = "device"


@dataclass(frozen=True)
class DataConfig:
    """Images, and what is done to them before the net sees them."""

    sources: dict[str, SourceConfig]
    """Named sources; `source:` alone is the single entry."""
    axes: Optional[str] = None
    """Axes of the image files, such as `YX`, `YXC`, `ZYX`, `CZYX`; left out, as the files say. A `Z` makes it 3D. With two unpaired domains those of domain A."""
    target_axes: Optional[str] = None
    """Axes of the target files; left out, those of the image without `C`. With two unpaired domains those of domain B; left out, as those of domain A."""
    channels: Optional[list[Union[int, str]]] = None
    """Channels of the image to use, by number or name; left out, all. With two unpaired domains those of domain A."""
    target_channels: Optional[list[Union[int, str]]] = None
    """Channels of the target file to learn; left out, all. With it, `target` may be the same file as the image: one channel is predicted from others. With two unpaired domains the channels of domain B to use."""
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
    augment_on: AugmentOn = AugmentOn.auto
    """`device` changes whole batches after their transfer, `worker` patch by patch; `auto` takes the device where there is a GPU, or where it saves time on the CPU, and all transforms can. Where objects are learnt, what moves pixels stays with the workers."""
    degrade: list[Component] = field(default_factory=list)
    """Random transforms that make the input out of a clean image, which becomes the target: noise, blur, reduced resolution. Drawn anew for each training patch, fixed for each evaluated image."""
    tabular: list[TabularConfig] = field(default_factory=list)
    """Columns of the table that join the image as input; a bare name is a column of numbers."""
    cache: CacheConfig = field(default_factory=CacheConfig)
    """Where preprocessed images are kept."""
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    """How samples become batches."""
