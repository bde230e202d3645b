"""What the data tell the model: sizes and counts that a config may leave out.

`DataFacts` is made by the data module, stored in ``resolved.json`` and given to the task, so that
``predict`` can rebuild a net without the training data.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any


class TargetKind(StrEnum):
    """What kind of target a task learns; the data module reads and checks targets accordingly."""

    LABELS = "labels"
    """Integer class of each pixel, ``0 .. classes - 1``."""
    INSTANCES = "instances"
    """Integer object of each pixel, 0 for background."""
    IMAGE = "image"
    """Another image of the same spatial shape."""
    CLASS = "class"
    """A class name or number for the whole image, from a column of the table."""
    CLASSES = "classes"
    """Any number of class names for the whole image (multi-label), from a column of the table."""
    NUMBER = "number"
    """A number for the whole image, or several, from columns of the table."""
    NONE = "none"
    """Nothing: prediction, or self-supervised training."""


@dataclass(frozen=True)
class ColumnTarget:
    """A target from the table beside the main one, as several heads need.

    Attributes:
        key: Key in samples and batches: the name of the head.
        kind: ``CLASS``, ``CLASSES`` or ``NUMBER``.
        columns: Columns of the table that hold it: one, or several for several numbers.
        classes: Names of the classes, where the kind has classes.
    """

    key: str
    kind: TargetKind
    columns: tuple[str, ...]
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetMap:
    """A map of pixels that is made of the instances of a sample, after its augmentation.

    Attributes:
        name: Its key in samples and batches: ``pixel_classes``, ``distance`` or ``centre_offsets``,
            see `imtoolkit.core.batch`.
        params: Parameters of the function in `imtoolkit.labels.maps` that makes it; ``spacing:
            "image"`` is the pixel size of each image, where its file tells it.
    """

    name: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TargetSpec:
    """What a task wants of the targets.

    Attributes:
        kind: What stands under the key ``target``, see `TargetKind`.
        classes: Names of the classes, background first, where the kind has classes.
        columns: Columns that hold the main target, where it comes from the table and not from its
            column ``target``.
        more: Further targets from the table, each under a key of its own.
        optional: Whether samples without a target (or without some) are taken: they are masked in
            the losses, counted, and told.
        annotations: Whether the channels of a target of ``LABELS`` are several annotations of one
            image, such as those of several readers; otherwise there is one.
        maps: What is made of the instances for learning, where the kind is ``INSTANCES``.
        unpaired: Whether images are of two domains, ``A`` and ``B`` in the column ``domain``, that
            are trained on side by side: ``image`` is then a patch of A, ``target`` one of B, and
            the axes and channels of targets are those of domain B. Samples with a target, true
            pairs of A and B, are for validation and test alone.
    """

    kind: TargetKind
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    more: tuple[ColumnTarget, ...] = ()
    optional: bool = False
    annotations: bool = False
    maps: tuple[TargetMap, ...] = ()
    unpaired: bool = False


@dataclass(frozen=True)
class DataFacts:
    """Facts read from the data, all plain values.

    Attributes:
        spatial_dims: 2 or 3.
        in_channels: Channels of an image after preprocessing.
        target_channels: Channels of a target image; 1 for labels.
        patch_size: Spatial size ``([Z,] Y, X)`` that the net sees in training; ``None`` for whole
            images of unequal size.
        spacing: Median pixel size ``([Z,] Y, X)``; ``None`` where the files do not tell.
        spacing_unit: ``"micrometer"`` or ``"millimeter"``.
        samples: Number of images in each split, such as ``{"train": 402, "val": 45}``.
        steps_per_epoch: Training batches of an epoch on one rank, before accumulation.
        class_pixels: Fraction of training pixels of each class, where targets are labels.
        fingerprint: Hash over the manifest: equal for equal data.
        image_files: Files of an image: several where each channel has its own.
        tabular: Names of the encoded features of ``data.tabular``, such as ``("age", "sex=f")``.
        tabular_mean: What is subtracted from each feature: the mean over the training samples for
            a column of numbers, 0 for a feature that tells whether a text is there.
        tabular_std: What each feature is divided by: the standard deviation over the training
            samples (1 where it is 0) for a column of numbers, 1 for others.
        class_samples: Training samples of each class by target key, such as
            ``{"target": (120, 35)}``, for targets of kind ``CLASS`` and ``CLASSES``.
        number_mean: Mean of each number over the training samples by target key.
        number_std: Standard deviation of each number over the training samples by target key.
        missing: Training samples without a label by target key, where there are some.
        target_patch_size: Spatial size of the training patches of domain B, where there are two
            domains; ``None`` for whole images of unequal size. `in_channels` and `patch_size` are
            then those of domain A, `target_channels` those of B.
        domain_samples: Number of images of each domain by split, such as ``{"train": {"A": 90,
            "B": 60}}``, where there are two domains.
        objects: Number of objects in each split, where targets are instances.
    """

    spatial_dims: int
    in_channels: int
    target_channels: int = 1
    patch_size: tuple[int, ...] | None = None
    spacing: tuple[float, ...] | None = None
    spacing_unit: str | None = None
    samples: dict[str, int] = field(default_factory=dict)
    steps_per_epoch: int = 0
    class_pixels: tuple[float, ...] | None = None
    fingerprint: str = ""
    image_files: int = 1
    tabular: tuple[str, ...] = ()
    tabular_mean: tuple[float, ...] = ()
    tabular_std: tuple[float, ...] = ()
    class_samples: dict[str, tuple[int, ...]] = field(default_factory=dict)
    number_mean: dict[str, tuple[float, ...]] = field(default_factory=dict)
    number_std: dict[str, tuple[float, ...]] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    target_patch_size: tuple[int, ...] | None = None
    domain_samples: dict[str, dict[str, int]] = field(default_factory=dict)
    objects: dict[str, int] = field(default_factory=dict)

    def turned(self) -> DataFacts:
        """Return the facts as a net sees them that goes from domain B to domain A.

        Example:
            >>> facts = DataFacts(2, in_channels=1, target_channels=3)
            >>> facts.turned().in_channels, facts.turned().target_channels
            (3, 1)
        """
        return replace(
            self,
            in_channels=self.target_channels,
            target_channels=self.in_channels,
            patch_size=self.target_patch_size,
            target_patch_size=self.patch_size,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> DataFacts:
        """Rebuild from `to_dict`; keys of other releases are left out."""
        known = {item.name for item in fields(cls)}
        kept = {key: _as_tuple(value) for key, value in raw.items() if key in known}
        return cls(**kept)


def _as_tuple(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_tuple(item) for key, item in value.items()}
    return tuple(value) if isinstance(value, list) else value
