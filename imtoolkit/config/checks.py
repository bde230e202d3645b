"""Values of a config that have the right type and still make no sense, alone or together."""

from __future__ import annotations

from imtoolkit.core.errors import Problem

from .nodes import Node


def check_values(root: Node) -> list[Problem]:
    """Return what contradicts itself in a config whose shape is right."""
    return []
