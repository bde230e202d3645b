"""The components of a config, checked against the index."""

from __future__ import annotations

from imtoolkit.core.errors import Problem

from .nodes import Node


def check_components(root: Node) -> list[Problem]:
    """Return what is wrong with the names and parameters of the components of a config."""
    return []
