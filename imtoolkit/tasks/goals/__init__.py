"""What one output of a net means: how it is learnt, measured, and turned into a result."""

from .annotations import AnnotationsGoal
from .base import OUTPUT, Goal
from .classes import ClassGoal
from .image import ImageGoal
from .labels import LabelsGoal
from .numbers import NumbersGoal

__all__ = [
    "OUTPUT",
    "AnnotationsGoal",
    "ClassGoal",
    "Goal",
    "ImageGoal",
    "LabelsGoal",
    "NumbersGoal",
]
