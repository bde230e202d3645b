"""What a user may write: frozen dataclasses, loading, validation, the index of components, dumping.

Nothing here imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .dump import from_dict, to_dict, to_yaml
    from .loading import load_config, load_run_config
    from .sections import Config

__all__ = ["Config", "from_dict", "load_config", "load_run_config", "to_dict", "to_yaml"]

_HOMES = {
    "Config": "sections",
    "from_dict": "dump",
    "load_config": "loading",
    "load_run_config": "loading",
    "to_dict": "dump",
    "to_yaml": "dump",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    message = f"module '{__name__}' has no attribute '{name}'"
    raise AttributeError(message)
