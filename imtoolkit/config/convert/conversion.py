"""The whole way: read, identify, move section by section, account, check, write."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from imtoolkit.config.loading import examine
from imtoolkit.core.errors import ConfigError, Problem
from imtoolkit.core.files import write_text

from . import data, inference, start, tasks, training, transforms
from .identify import identify
from .old import OldFile, read_old
from .postprocess import move_postprocess
from .report import Entry, Outcome, counted
from .transfer import Transfer
from .writing import as_yaml


@dataclass(frozen=True)
class Conversion:
    """What came out of an old file.

    Attributes:
        source: The old file.
        category: Category of the task.
        trains: Whether the old file trained; otherwise it predicted.
        config: The new config as plain values, which `imtoolkit.load_config` takes.
        report: What became of each key, in the order of the old file.
        commands: The command lines that do what the old file did; ``{new}`` is the new file.
        remarks: What to know or do before training.
        problems: What is wrong with the new config; nothing, unless an old value makes no sense.
    """

    source: Path
    category: str
    trains: bool
    config: dict[str, Any]
    report: tuple[Entry, ...]
    commands: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = field(default=())

    @property
    def lost(self) -> tuple[Entry, ...]:
        """The keys without counterpart."""
        return tuple(entry for entry in self.report if entry.outcome is Outcome.LOST)

    def commands_for(self, new: str | Path | None = None) -> tuple[str, ...]:
        """Return the command lines that do what the old file did.

        Args:
            new: The new file; left out, one of the config's name.
        """
        name = shlex.quote(str(new if new is not None else f"{self.config['name']}.yaml"))
        return tuple(command.replace("{new}", name) for command in self.commands)

    def to_yaml(self, new: str | Path | None = None) -> str:
        """Return the new config as YAML, with the report as comments at its head.

        Args:
            new: The file that it goes to, for the commands in its head.
        """
        return as_yaml(self, new)

    def write(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the new config.

        Raises:
            ConfigError: If the file is there already, and is not to be overwritten.
        """
        target = Path(path)
        if target.exists() and not overwrite:
            message = "is there already and is not overwritten. Choose another name, or use --force"
            raise ConfigError(Problem(message, file=str(target)))
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text(target, self.to_yaml(target))
        return target

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {
            "source": str(self.source),
            "category": self.category,
            "direction": "train" if self.trains else "inference",
            "config": self.config,
            "report": [vars_of(entry) for entry in self.report],
            "counts": counted(self.report),
            "commands": list(self.commands_for()),
            "remarks": list(self.remarks),
            "problems": [str(problem) for problem in self.problems],
        }


def vars_of(entry: Entry) -> dict[str, Any]:
    """Return an entry as plain values."""
    return {
        "key": entry.key, "value": entry.value, "outcome": str(entry.outcome), "to": entry.to,
        "note": entry.note, "line": entry.line,
    }  # fmt: skip


def convert_config(
    path: str | Path, *, category: str | None = None, inference: str | Path | None = None
) -> Conversion:
    """Convert a YAML file of mmv_im2im.

    Args:
        path: The old file, for training or for inference.
        category: Category of the task, where the file leaves it open and the guess is wrong:
            ``segmentation``, ``enhancement``, ...
        inference: The inference file that belongs to a training file; its tiles and its
            post-processing join the new config, and its command is told.

    Raises:
        ConfigError: If it is no file of mmv_im2im, of an unknown framework, or not readable.

    Example:
        >>> convert_config("no_such_file.yaml")
        Traceback (most recent call last):
            ...
        imtoolkit.core.errors.ConfigError: no_such_file.yaml: no such file
    """
    old = read_old(Path(path))
    transfer = _moved(old, category)
    joined = _join(transfer, Path(inference)) if inference is not None else ()
    config = _ordered({"name": _name(old.path), **transfer.new})
    draft = examine(config)
    return Conversion(
        source=old.path,
        category=transfer.facts.category,
        trains=transfer.facts.trains,
        config=config,
        report=(*transfer.ledger.entries(), *joined),
        commands=tuple(_commands(transfer)),
        remarks=tuple(transfer.remarks),
        problems=tuple(draft.problems),
    )


def _moved(old: OldFile, category: str | None) -> Transfer:
    """Convert a file section by section.

    Raises:
        ConfigError: If it is no file of mmv_im2im, or a value is of a kind that none of them has.
    """
    try:
        return _sections(old, category)
    except _ODD as error:  # any value may be anything: a text for a mapping, a list in a list
        message = (
            "here or nearby stands something of a kind that no file of mmv_im2im has, so that "
            f"it cannot be converted ({str(error) or type(error).__name__}). Mend it, or remove it"
        )
        raise ConfigError(old.problem(old.asked, message)) from error


_ODD: Final = (
    *(ArithmeticError, AttributeError, LookupError, OSError),
    *(RuntimeError, TypeError, ValueError),
)


def _sections(old: OldFile, category: str | None) -> Transfer:
    transfer = Transfer(old, identify(old, category))
    for key, line in old.doubled:
        transfer.remark(f"the key '{key}' stands twice; what stands in line {line} counted")
    transfer.imply("mode", "training and prediction are commands here: see below")
    transforms.move_transforms(transfer)
    if transfer.facts.trains:
        data.move_source(transfer)
    else:
        inference.move_input(transfer)
    tasks.move_task(transfer)
    data.move_loader_section(transfer)
    start.move_extra(transfer)
    training.move_trainer(transfer)
    inference.move_windows(transfer)
    inference.move_first_windows(transfer)
    move_postprocess(transfer)
    data.move_rest(transfer)
    return transfer


_PADDED: Final = "pad_to_multiple"
"""What makes whole images fit a net."""

_ORDER: Final = {
    "": ("name", "seed", "data", "task", "trainer", "callbacks", "inference", "tracking"),
    "data": ("source", "sources", "axes", "channels", "target_channels", "scene", "time", "split",
             "preprocess", "patch", "augment", "loader", "cache"),
    "task": ("category", "classes", "columns", "net", "nets", "loss", "losses", "optimizer",
             "optimizers", "scheduler", "schedulers"),
}  # fmt: skip


def _ordered(config: dict[str, Any], section: str = "") -> dict[str, Any]:
    """Bring sections and keys into the order in which a config is read."""
    order = _ORDER.get(section, ())
    keys = [*(key for key in order if key in config), *(key for key in config if key not in order)]
    return {
        key: _ordered(config[key], key)
        if not section and isinstance(config[key], Mapping)
        else config[key]
        for key in keys
    }


def _name(path: Path) -> str:
    name = re.sub(r"[^\w.+-]+", "_", path.stem).strip("._+-")
    return name or "converted"


def _join(transfer: Transfer, path: Path) -> tuple[Entry, ...]:
    """Add what an inference file says of tiles and post-processing, and account for its keys."""
    old = read_old(path)
    facts = identify(old)
    if facts.trains:
        message = "is for training; --with takes the inference file that belongs to it"
        raise ConfigError(Problem(message, file=str(path)))
    if facts.framework != transfer.facts.framework:
        message = f"is of the framework '{facts.framework}', not '{transfer.facts.framework}'"
        raise ConfigError(old.problem("model.framework", message))
    other = _moved(old, transfer.facts.category)
    transfer.new.setdefault("inference", {}).update(other.new.get("inference", {}))
    transfer.joined = other
    transfer.remark(f"tiles and post-processing are those of '{path}'")
    alike = _of_images(transfer) == _of_images(other)
    if not alike:
        transfer.remark(
            f"'{path.name}' prepared images otherwise than the training file; here prediction does "
            "what training did. If the training images were prepared before, do that for all"
        )
    return tuple(_joined(entry, path, alike=alike) for entry in other.ledger.entries())


def _of_images(transfer: Transfer) -> list[Any]:
    """Return what is done to images before the net, without what is done to targets alone.

    Padding to a multiple does not count: crops need none, and tiles fit the net by themselves.
    """
    steps = transfer.new.get("data", {}).get("preprocess", [])
    found = []
    for step in steps:
        params = dict(step["params"]) if isinstance(step, Mapping) else {}
        keys = params.pop("keys", ["image"])
        name = step["name"] if isinstance(step, Mapping) else step
        if "image" in keys and name != _PADDED:
            found.append((name, params))
    return found


def _joined(entry: Entry, path: Path, *, alike: bool) -> Entry:
    named = replace(entry, key=f"{path.name}: {entry.key}")
    if entry.key.startswith("data.preprocess") and not alike:
        why = "prediction prepares images as training does, and the training file does otherwise"
        return replace(named, outcome=Outcome.LOST, to="", note=why)
    if entry.outcome is Outcome.CARRIED and not entry.to.startswith(("inference.", "the ")):
        return replace(named, outcome=Outcome.IMPLIED, to="", note="the training file tells it")
    return named


def _commands(transfer: Transfer) -> list[str]:
    found = ["imtoolkit check {new}", "imtoolkit train {new}"]
    predicting = transfer.joined or (None if transfer.facts.trains else transfer)
    if predicting is not None:
        return [*found, inference.command(predicting)]
    return [*found, "imtoolkit predict latest IMAGES --output PREDICTIONS"]
