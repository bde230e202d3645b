"""``metrics.csv``: every logged value, a row for each step, kept over interruptions.

Lightning's own CSV logger deletes the file when a run is resumed. Ours appends, cuts back to the
step of the checkpoint, mends a line that was torn by a crash, and lets columns be added.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from imtoolkit.core.files import write_text

FIRST = ("epoch", "step")


class MetricsCsv(Logger):
    """A Lightning logger that writes one CSV file.

    Values that are logged for one step in several calls share a row. A row counts optimizer steps
    from 0 in ``step``, as Lightning does.

    Args:
        path: The file; rows that it holds are kept.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._columns: list[str] = []
        self._row: dict[str, str] = {}
        self._offset = 0  # where the row that is still growing begins
        self._opened = False

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "metrics"

    @property
    def version(self) -> str:
        """The file has no versions."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: ``config.yaml`` holds what the user asked for."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add values to the row of a step and write it at once."""
        self._open()
        values = {key: _text(value) for key, value in metrics.items() if key != "step"}
        values["step"] = str(step if step is not None else 0)
        if self._row.get("step") != values["step"]:
            self._row = {}
            self._offset = self._size()
        self._row.update(values)
        new = [key for key in self._row if key not in self._columns]
        if new:
            self._add_columns(new)
        self._write_row()

    @rank_zero_only
    def cut(self, last_step: int) -> None:
        """Forget all rows after a step; the file then ends as when the checkpoint was saved."""
        rows = [
            row for row in self._rows() if row["step"].isdigit() and int(row["step"]) <= last_step
        ]
        self._opened = True
        self._columns = list(rows[0]) if rows else []
        self._rewrite(rows)

    def _open(self) -> None:
        if self._opened:
            return
        self._opened = True
        rows = self._rows()
        self._columns = list(rows[0]) if rows else []
        if rows:
            self._rewrite(rows)

    def _rows(self) -> list[dict[str, str]]:
        """Return the whole rows of the file; a last line that was torn is left out."""
        try:
            with self.path.open(encoding="utf-8", errors="replace", newline="") as stream:
                text = stream.read()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind("\n") + 1]
        try:
            rows = list(csv.DictReader(io.StringIO(whole), restval=""))
        except csv.Error:  # no table at all
            return []
        return [
            row
            for row in rows
            if None not in row
            and (row.get("step") or "").isdigit()
            and all(map(_is_number, row.values()))
        ]

    def _add_columns(self, new: list[str]) -> None:
        rows = [row for row in self._rows() if row["step"] != self._row["step"]]
        metrics = sorted({*self._columns, *new} - set(FIRST))
        self._columns = [*FIRST, *metrics]
        self._rewrite([*rows, self._row])

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        self._row = dict(rows[-1]) if rows else {}
        head = self._line({key: key for key in self._columns}) if self._columns else ""
        body = "".join(self._line(row) for row in rows[:-1])
        self._offset = len((head + body).encode())
        write_text(self.path, head + body + (self._line(rows[-1]) if rows else ""))

    def _write_row(self) -> None:
        with self.path.open("r+b") as stream:
            stream.seek(self._offset)
            stream.write(self._line(self._row).encode())
            stream.truncate()

    def _line(self, row: Mapping[str, str]) -> str:
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerow(
            [row.get(key, "") for key in self._columns]
        )
        return stream.getvalue()

    def _size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0


def _is_number(text: str) -> bool:
    try:
        float(text or "0")
    except ValueError:
        return False
    return True


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))
