"""``imtoolkit explain``: what a key of the config means."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from .output import out


def explain(
    key: Annotated[
        str, typer.Argument(help="Key such as data.patch.size; left out, all sections are shown.")
    ] = "",
) -> None:
    """Explain a key of the config: type, default, choices, an example, and the keys below it."""
    from imtoolkit.config import explain as room

    if not key:
        _overview(room.sections_overview(), room.complete_example())
        return
    found = room.explain(key)
    output = out()
    output.result(**asdict(found))
    lines = [found.key, "", found.doc, ""]
    facts = {
        "takes": found.type,
        "default": "none: it must be given" if found.required else found.default,
        "limits": found.limits,
        "choices": ", ".join(found.choices),
    }
    lines += [f"{name + ':':<10}{text}" for name, text in facts.items() if text]
    if found.kind:
        lines += ["", f"List what can stand here:  imtoolkit components {found.kind}"]
        lines += [f"Explain one of them:       imtoolkit components {found.kind} NAME"]
    if found.example:
        lines += ["", "Example:", *(f"  {line}" for line in found.example.splitlines())]
    if found.children:
        width = max(map(len, found.children)) + 2
        lines += ["", "Below it:"]
        lines += [f"  {name:<{width}}{text}" for name, text in found.children.items()]
    output.show("\n".join(lines))


def _overview(sections: list[tuple[str, str]], example: str) -> None:
    output = out()
    output.result(sections=dict(sections), example=example)
    width = max(len(name) for name, _ in sections) + 2
    lines = ["The sections of a config; explain one with: imtoolkit explain SECTION", ""]
    lines += [f"  {name:<{width}}{doc}" for name, doc in sections]
    lines += [
        "",
        "A component (net, loss, transform, source, ...) is a name, or a name with parameters:",
        "  {name: UNet, params: {channels: [16, 32, 64], strides: [2, 2]}}",
        "What there is: imtoolkit components source|transform|net|loss|optimizer|scheduler|metric",
        "",
        "A complete config, which trains on what 'imtoolkit samples nuclei data/nuclei' draws:",
        "",
        *(f"  {line}" for line in example.splitlines()),
        "",
        "Check yours with: imtoolkit check CONFIG     Train with: imtoolkit train CONFIG",
        "Any key can be set on the command line: --trainer.max_epochs 5",
    ]
    output.show("\n".join(lines))
