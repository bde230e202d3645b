"""A part of a net as a file of its own: its weights, and the optimizer's state of them.

The file is a checkpoint of plain values and tensors with the weights of the part alone, under the
names that they have in a task (``nets.net.backbone.*``). It can be given to ``task.start_from`` as
it is, together with ``optimizer: true`` where the optimizer's state shall be taken over as well:

    task: {start_from: {run: backbone.ckpt, optimizer: true}, freeze: ["nets.net.backbone.*"]}
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from imtoolkit.core.errors import RunError, did_you_mean, listed
from imtoolkit.core.files import replacing

from .loading import LoadReport, load_matching

_KEY: Final = "imtoolkit"
_NET: Final = "nets.net."


def save_part(source: nn.Module | Mapping[str, Any] | str | Path, part: str, path: Path) -> Path:
    """Write one part of a net, or of a checkpoint, as a file.

    Args:
        source: A net, a task, or a checkpoint (its file, or what it holds). A checkpoint brings the
            optimizer's state of the part along.
        part: Name of the part in the net, such as ``backbone`` or ``heads.mask``; or its whole
            name in the task, such as ``nets.generator.backbone``.
        path: File to write; replaced at once or not at all.

    Returns:
        The file.

    Raises:
        RunError: If there is no such part, or the file cannot be read or written.
    """
    content = _content(source)
    weights: dict[str, Tensor] = dict(content["state_dict"])
    start = _start(part, weights)
    inside = {name: value for name, value in weights.items() if name.startswith(start)}
    states, classes = _optimizer_states(content, start)
    made = {
        "state_dict": {name: value.detach().cpu().clone() for name, value in inside.items()},
        "optimizer_states": states,
        _KEY: {"version": version("imtoolkit"), "part": start[:-1], "optimizers": classes},
    }
    try:
        with replacing(Path(path)) as file, file.open("wb") as stream:
            torch.save(made, stream)
    except OSError as error:
        message = f"cannot write {path}: {error.strerror or error}"
        raise RunError(message) from error
    return Path(path)


def load_part(module: nn.Module, path: str | Path, part: str | None = None) -> LoadReport:
    """Load a saved part into a net, as far as it fits.

    Args:
        module: A net or a task that has the part, or the part itself; changed in place.
        path: File that `save_part` wrote.
        part: Name of the part here; left out, the name it was saved under, or the module itself.

    Returns:
        What was loaded, and what was not.

    Raises:
        RunError: If the file holds no part, there is no such part here, or nothing fits.
    """
    content = _read(Path(path))
    saved = content.get(_KEY, {}).get("part") if isinstance(content.get(_KEY), dict) else None
    if not isinstance(saved, str):
        message = f"{path} holds no part of a net: write it with imtoolkit.nets.parts.save_part"
        raise RunError(message)
    state = {name[len(saved) + 1 :]: value for name, value in content["state_dict"].items()}
    return load_matching(_target(module, saved, part), state)


def _content(source: nn.Module | Mapping[str, Any] | str | Path) -> Mapping[str, Any]:
    if isinstance(source, nn.Module):
        state = source.state_dict()
        whole = all(name.startswith(("nets.", "losses.")) for name in state)
        return {"state_dict": state if whole else {f"{_NET}{n}": v for n, v in state.items()}}
    return source if isinstance(source, Mapping) else _read(Path(source))


def _start(part: str, names: Iterable[str]) -> str:
    names = list(names)
    for start in (f"{part}.", f"{_NET}{part}."):
        if any(name.startswith(start) for name in names):
            return start
    levels = [name.removeprefix(_NET).split(".") for name in names]
    known = {".".join(level[:depth]) for level in levels for depth in range(1, len(level))}
    message = (
        f"there is no part '{part}'.{did_you_mean(part, sorted(known))} Weights are called "
        f"{listed(names, 3)}"
    )
    raise RunError(message)


def _optimizer_states(content: Mapping[str, Any], start: str) -> tuple[list[Any], list[str]]:
    """Return the states of the weights whose names begin so, and the optimizers' classes."""
    kept = content.get(_KEY)
    classes = list(kept.get("optimizers", [])) if isinstance(kept, Mapping) else []
    made = []
    for saved in content.get("optimizer_states") or []:
        state: dict[int, Any] = {}
        names: list[str] = []
        for group in saved["param_groups"]:
            for number, name in zip(group["params"], group.get("param_names", ()), strict=False):
                if name.startswith(start) and number in saved["state"]:
                    state[len(names)] = saved["state"][number]
                    names.append(name)
        group = {"params": list(range(len(names))), "param_names": names}
        made.append({"state": state, "param_groups": [group]})
    return made, classes


def _target(module: nn.Module, saved: str, part: str | None) -> nn.Module:
    known = dict(module.named_modules())
    wanted = [part, f"{_NET}{part}"] if part else [saved, saved.removeprefix(_NET)]
    for name in wanted:
        if name in known:
            found: nn.Module = known[name]
            return found
    if part is None:
        return module
    message = (
        f"there is no part '{part}' here.{did_you_mean(part, [name for name in known if name])}"
    )
    raise RunError(message)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        message = f"there is no file {path}"
        raise RunError(message) from error
    except (OSError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        message = f"{path} is torn, or holds more than tensors and plain values; it was not opened"
        raise RunError(message) from error
    if not isinstance(content, dict) or not _are_weights(content.get("state_dict")):
        message = f"{path} holds no weights: it has no 'state_dict' of tensors"
        raise RunError(message)
    return content


def _are_weights(state: Any) -> bool:
    return isinstance(state, dict) and any(isinstance(item, Tensor) for item in state.values())
