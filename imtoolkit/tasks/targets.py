"""What each category wants of the targets, told from its section of the config alone."""

from __future__ import annotations

from collections.abc import Mapping

from imtoolkit.config.sections import (
    BoundaryConfig,
    ClassificationConfig,
    CycleGANConfig,
    DistanceConfig,
    EmbedSegConfig,
    EnhancementConfig,
    HeadConfig,
    MultitaskConfig,
    Noise2VoidConfig,
    ProbabilisticUNetConfig,
    RegressionConfig,
    SegmentationConfig,
    TaskConfig,
)
from imtoolkit.core.batch import CENTRE_OFFSETS, DISTANCE, PIXEL_CLASSES
from imtoolkit.core.errors import ConfigError, Problem
from imtoolkit.core.facts import ColumnTarget, TargetKind, TargetMap, TargetSpec


def target_of_config(config: TaskConfig) -> TargetSpec:
    """Return what a task of a built-in category wants of the targets.

    Raises:
        ConfigError: If a head is of no known kind.
    """
    objects = _of_objects(config)
    if objects is not None:
        return objects
    if isinstance(config, SegmentationConfig):
        return TargetSpec(TargetKind.LABELS, tuple(config.classes))
    if isinstance(config, ClassificationConfig):
        return TargetSpec(_class_kind(config), tuple(config.classes))
    if isinstance(config, RegressionConfig):
        return TargetSpec(TargetKind.NUMBER, columns=tuple(config.columns))
    if isinstance(config, Noise2VoidConfig):
        return TargetSpec(TargetKind.IMAGE, optional=True)  # clean images, to measure against
    if isinstance(config, CycleGANConfig):  # true pairs, where there are any, measure
        return TargetSpec(TargetKind.IMAGE, optional=True, unpaired=True)
    if isinstance(config, EnhancementConfig):
        return TargetSpec(TargetKind.IMAGE)
    if isinstance(config, ProbabilisticUNetConfig):
        return TargetSpec(TargetKind.LABELS, tuple(config.classes), annotations=True)
    if isinstance(config, EmbedSegConfig):
        return TargetSpec(TargetKind.INSTANCES, maps=(_centres(config),))
    if isinstance(config, MultitaskConfig):
        return _of_heads(config.heads)
    message = f"got a {type(config).__name__} for the category '{config.category}'"
    raise ConfigError(Problem(message, where="task.category"))


def _centres(config: EmbedSegConfig) -> TargetMap:
    """Return the map of centres; distances between pixels count by their size."""
    size = "image" if config.anisotropy is None else list(config.anisotropy)
    return TargetMap(CENTRE_OFFSETS, {"centre": config.centre, "spacing": size})


def _of_objects(config: TaskConfig) -> TargetSpec | None:
    """Return what a task wants that learns objects as classes or distances of pixels."""
    asked = getattr(config, "instances", None)
    if isinstance(asked, BoundaryConfig):
        width = {"width": asked.boundary}
        maps = (TargetMap(PIXEL_CLASSES, width),) if asked.boundary else ()
        return TargetSpec(TargetKind.INSTANCES, maps=maps)
    if isinstance(asked, DistanceConfig):
        # in pixels, unless each object's own greatest distance is the unit
        size = {"spacing": "image"} if asked.normalize else {}
        maps = (TargetMap(DISTANCE, {"normalize": asked.normalize, **size}),)
        return TargetSpec(TargetKind.INSTANCES, maps=maps)
    return None


def _class_kind(config: ClassificationConfig | HeadConfig) -> TargetKind:
    return TargetKind.CLASSES if config.multilabel else TargetKind.CLASS


def _of_heads(heads: Mapping[str, HeadConfig]) -> TargetSpec:
    """Return the target image that the dense heads share, and a column for each other head."""
    labels = [head for head in heads.values() if head.kind == "segmentation"]
    images = [head for head in heads.values() if head.kind == "enhancement"]
    # where labels and images stand in the channels of one file, they are read as an image
    kind = TargetKind.IMAGE if images else TargetKind.LABELS if labels else TargetKind.NONE
    most = max((tuple(head.classes) for head in labels), key=len, default=())
    more = [_column(name, head) for name, head in heads.items() if head not in labels + images]
    classes = most if kind is TargetKind.LABELS else ()
    return TargetSpec(kind, classes, more=tuple(more), optional=True)


def _column(name: str, head: HeadConfig) -> ColumnTarget:
    columns = tuple(head.columns) or (name,)
    if head.kind == "classification":
        return ColumnTarget(name, _class_kind(head), columns, tuple(head.classes))
    if head.kind == "regression":
        return ColumnTarget(name, TargetKind.NUMBER, columns)
    message = (
        f"got '{head.kind}'; a head is a segmentation, a classification, a regression or an "
        "enhancement"
    )
    raise ConfigError(Problem(message, where=f"task.heads.{name}.kind"))
