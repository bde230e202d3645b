"""`Run`: what a run folder holds, read when asked for."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imtoolkit.core.errors import RunError, listed
from imtoolkit.core.facts import DataFacts
from imtoolkit.runs import layout
from imtoolkit.runs.status import Status, read_status

if TYPE_CHECKING:
    import pandas as pd

    from imtoolkit.config.sections import Config


class Run:
    """A run folder: its config, metrics, checkpoints and results.

    Shows itself in a notebook as a table of its metrics and its newest picture.

    Attributes:
        path: The folder.

    Raises:
        RunError: If ``path`` is not a run folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).resolve()
        if not (self.path / layout.CONFIG).is_file():
            msg = f"{path} is not a run folder: it holds no {layout.CONFIG}"
            raise RunError(msg)

    def __fspath__(self) -> str:
        return str(self.path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.status.state.value})"

    def _repr_html_(self) -> str:
        from imtoolkit.runs.show import run_html

        return run_html(self)

    def require(self) -> None:
        """Check that the folder is still there, before results are written into it.

        Raises:
            RunError: If somebody has deleted or moved it.
        """
        if not (self.path / layout.CONFIG).is_file():
            msg = (
                f"the run folder {self.path} is gone: it was deleted or moved while this command "
                "worked on it. Run the command again on the place where it is now"
            )
            raise RunError(msg)

    @property
    def id(self) -> str:
        """Name of the folder, such as ``20260131-142501-0f3a9c``."""
        return self.path.name

    @property
    def name(self) -> str:
        """Name of the run, from its config."""
        return self.status.name or self.path.parent.name

    @property
    def status(self) -> Status:
        """State of the run, read anew each time."""
        return read_status(self.path)

    @property
    def started(self) -> str:
        """When the run was made, ISO 8601 in UTC."""
        return self.status.started

    @cached_property
    def config(self) -> Config:
        """The config as the user gave it; its plugins must be trusted, see `load_run_config`."""
        from imtoolkit.config import load_run_config

        return load_run_config(self.path / layout.CONFIG)

    @property
    def resolved(self) -> dict[str, Any]:
        """What the data and the machine filled in: ``facts``, ``machine``, ...

        Raises:
            RunError: If the run stopped before its data were read.
        """
        return self._json(layout.RESOLVED, "the run stopped before its data were read")

    @property
    def facts(self) -> DataFacts:
        """What the data told the model."""
        return DataFacts.from_dict(self.resolved["facts"])

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the run comes from: commit, packages, host, command line, data."""
        return self._json(layout.PROVENANCE, "the run stopped before it was written")

    @property
    def metrics(self) -> pd.DataFrame:
        """All logged values, a row for each logged step; empty before the first."""
        import pandas as pd

        path = self.path / layout.METRICS
        try:
            # a line that a crash has torn, or another program spoilt, costs no more than itself
            frame = pd.read_csv(path, encoding_errors="replace", on_bad_lines="skip", dtype=str)
        except (FileNotFoundError, pd.errors.EmptyDataError, pd.errors.ParserError):
            return pd.DataFrame()
        if not {"epoch", "step"} <= set(frame.columns):
            return pd.DataFrame()
        numbers = frame.apply(pd.to_numeric, errors="coerce")
        whole = (numbers.notna() | frame.isna()).all(axis="columns") & numbers["step"].notna()
        kept = numbers[whole].reset_index(drop=True)
        counts = [name for name in ("epoch", "step") if kept[name].notna().all()]
        found: pd.DataFrame = kept.astype(dict.fromkeys(counts, int))
        return found

    @property
    def checkpoints(self) -> list[str]:
        """Names of the states that are kept: ``last``, ``best``, ``best-<metric>``."""
        return sorted(file.stem for file in (self.path / layout.CHECKPOINTS).glob("*.ckpt"))

    def checkpoint(self, name: str = "best") -> Path:
        """Return the file of a kept state.

        Args:
            name: ``best``, ``last`` or ``best-<metric>``; ``/`` in a metric may be written ``-``.

        Raises:
            RunError: If this state was not kept.
        """
        stem = name.removesuffix(".ckpt").replace("/", "-")
        path = self.path / layout.CHECKPOINTS / f"{stem}.ckpt"
        if not path.is_file():
            there = (
                listed(self.checkpoints)
                if self.checkpoints
                else "none: it stopped before the first"
            )
            msg = f"run {self.id} has no checkpoint '{name}'. It has {there}"
            raise RunError(msg)
        return path

    @property
    def evaluations(self) -> dict[str, dict[str, Any]]:
        """Summary of each evaluated split."""
        found = sorted((self.path / layout.EVALUATION).glob("*/summary.json"))
        places = {path.parent.name: str(path.relative_to(self.path)) for path in found}
        return {name: self._json(place, "") for name, place in places.items()}

    @property
    def pictures(self) -> list[Path]:
        """Pictures drawn as training went, oldest first."""
        return sorted((self.path / layout.PICTURES).glob("*.png"))

    def _json(self, name: str, missing: str) -> dict[str, Any]:
        try:
            content = json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            msg = f"run {self.id} has no {name}: {missing}"
            raise RunError(msg) from error
        except ValueError as error:
            msg = f"{self.path / name} is damaged: {error}. Take it from a copy, or make it anew"
            raise RunError(msg) from error
        if not isinstance(content, dict):
            msg = f"{self.path / name} is damaged: it holds no mapping"
            raise RunError(msg)
        return content
