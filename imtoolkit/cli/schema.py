"""``imtoolkit schema``: the JSON Schema of a config, for completion and hints in an editor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .output import out


def schema(
    output: Annotated[
        Path | None, typer.Option(help="Write to this file instead of printing.")
    ] = None,
) -> None:
    """Print the JSON Schema (2020-12) of a config, for editors.

    In an editor with a YAML language server, the first line of a config names it:
    ``# yaml-language-server: $schema=imtoolkit.schema.json``
    """
    from imtoolkit.config.schema import config_schema
    from imtoolkit.core.files import write_text

    found = config_schema()
    text = json.dumps(found, indent=2, ensure_ascii=False)
    out().result(**found)
    if output is None:
        out().show(text)
        return
    write_text(output, text + "\n")
    out().wrote("schema", output)
