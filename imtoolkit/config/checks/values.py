"""Values of a config's tree by dotted keys, as the checks read them."""

from __future__ import annotations

from typing import Any

from imtoolkit.config.nodes import Node, Place


class Values:
    """Reads values of the tree by dotted keys; the entries of a list are numbered from 0."""

    def __init__(self, root: Node) -> None:
        self.root = root

    def node(self, key: str) -> Node | None:
        """Return the node of a key, or ``None`` where nothing was written."""
        node: Node | None = self.root
        for part in key.split("."):
            if node is None:
                return None
            node = _entry(node.value, part)
        return node

    def get(self, key: str, default: Any = None) -> Any:
        """Return the plain value of a key."""
        node = self.node(key)
        return default if node is None else node.plain()

    def place(self, key: str) -> Place:
        """Return the place of a key, or of the nearest section above it that was written."""
        parts = key.split(".")
        for count in range(len(parts), 0, -1):
            node = self.node(".".join(parts[:count]))
            if node is not None:
                return node.place
        return Place(file=self.root.place.file, key=key)


def _entry(value: Any, part: str) -> Node | None:
    found: Node | None = None
    if isinstance(value, dict):
        found = value.get(part)
    elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
        found = value[int(part)]
    return found
