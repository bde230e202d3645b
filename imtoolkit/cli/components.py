"""``imtoolkit components``: what can stand in a config, and with which parameters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from .output import format_table, out

_ROLE = re.compile(r":(?:\w+:)+`~?([^`]*)`")
"""Marks of Sphinx around a name, such as ``:py:class:`monai.transforms.Flip```."""


def components(
    kind: Annotated[
        str, typer.Argument(help="Kind such as net, loss, transform, source; left out, all kinds.")
    ] = "",
    name: Annotated[str, typer.Argument(help="One component, to show its parameters.")] = "",
    plugin: Annotated[
        list[str] | None, typer.Option(help="Own module to include; it is read, not run.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Show every name, not only imtoolkit's own first.")
    ] = False,
) -> None:
    """List components of a kind, or the parameters of one."""
    from imtoolkit.config import catalog
    from imtoolkit.config.plugins import absolute
    from imtoolkit.core.registry import KINDS

    plugins = [absolute(item, Path.cwd()) for item in plugin or ()]
    if not kind:
        out().result(kinds=list(KINDS))
        out().show("Kinds of components: " + ", ".join(KINDS))
        out().show("List one with: imtoolkit components KIND")
        return
    kind = catalog.check_kind(kind)
    if name:
        _show_one(catalog.describe_component(kind, name, plugins))
        return
    rows = catalog.list_components(kind, plugins)
    out().result(
        kind=kind, components=[dict(zip(("name", "doc"), row, strict=False)) for row in rows]
    )
    _show_list(kind, rows, every=every)


def _show_list(kind: str, rows: list[tuple[str, str, bool]], *, every: bool) -> None:
    own = [row for row in rows if row[2]]
    others = [row for row in rows if not row[2]]
    lines: list[str] = []
    for title, group in ((f"imtoolkit's own ({kind}):", own), ("From the packages:", others)):
        if not group:
            continue
        width = min(max(len(name) for name, _, _ in group), 44) + 2
        lines += [title, *(f"  {name:<{width}}{_short(doc, every)}" for name, doc, _ in group), ""]
    lines.append(f"Show the parameters of one with: imtoolkit components {kind} NAME")
    out().show("\n".join(lines))


def _short(doc: str, every: bool) -> str:
    doc = _ROLE.sub(r"\1", doc).replace("``", "`")
    return doc if every or len(doc) <= 100 else f"{doc[:97]}..."


def _show_one(found: dict[str, Any]) -> None:
    out().result(**found)
    lines = [f"{found['kind']} {found['name']}", f"{found['path']}  ({found['source']})", ""]
    if found["refused"]:
        lines += [f"A config cannot use it: it {found['refused']}", ""]
    rows = [(item["name"], item["type"], _default(item)) for item in found["parameters"]]
    if rows:
        lines.append(format_table(("parameter", "type", "default"), rows))
    else:
        lines.append("It takes no parameters.")
    if found["open"]:
        lines.append("and further parameters, which 'imtoolkit check' tries by building it")
    if found["doc"]:
        lines += ["", found["doc"]]
    out().show("\n".join(lines))


def _default(item: dict[str, Any]) -> str:
    if item["refused"] and item["default"] in (None, "None", "False", "True"):
        return f"refused: it {item['refused']}"
    if item["filled"]:
        return "filled in from data and task"
    return "required" if item["required"] else str(item["default"])
