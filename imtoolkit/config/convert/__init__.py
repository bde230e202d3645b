"""From a YAML file of mmv_im2im to a config, with an account of each of its keys.

    conversion = convert_config("old.yaml")
    conversion.config          # plain values, which load_config takes
    conversion.report          # what became of each key
    conversion.write("new.yaml")

Nothing of the old file is imported or run: its module and function names are looked up in tables.
"""

from __future__ import annotations

from .conversion import Conversion, convert_config
from .report import Entry, Outcome

__all__ = ["Conversion", "Entry", "Outcome", "convert_config"]
