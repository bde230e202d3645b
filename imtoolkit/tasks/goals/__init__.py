"""What one output of a net means: how it is learnt, measured, and turned into a result."""

from .annotations import AnnotationsGoal
from .base import OUTPUT, Goal
from .classes import ClassGoal
from .image import ImageGoal
from .labels import LabelsGoal
from .numbers import NumbersGoal
from .objects import BoundaryGoal, DistanceGoal

__all__ = [
    "OUTPUT",
    "AnnotationsGoal",
    "BoundaryGoal",
    "ClassGoal",
    "DistanceGoal",
    "Goal",
    "ImageGoal",
    "LabelsGoal",
    "NumbersGoal",
]
