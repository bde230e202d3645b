"""The manifest: a table with one row for each sample, held column by column.

A Python list of a million dicts costs gigabytes and is copied into each worker page by page; Arrow
columns cost the bytes of their text, are shared by forked workers, and reach spawned ones as the
path of a memory-mapped file (`Manifest.shared`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imtoolkit.core.errors import DataError, did_you_mean, listed
from imtoolkit.core.files import replacing

CORE: Final = ("id", "image", "target", "weight", "group", "dataset", "split")
"""Columns that every manifest has, as text; only ``id`` and ``image`` are never null."""
SPLITS: Final = ("train", "val", "test", "naive")
"""The values of the column ``split``, in the order in which they are shown."""


class Manifest:
    """A table of samples.

    The columns ``id``, ``image``, ``target``, ``weight``, ``group``, ``dataset`` and ``split`` are
    always there; others are the user's. ``image``, ``target`` and ``weight`` are *references* (see
    `imtoolkit.data.references`): an absolute path; several paths joined by ``|`` for an image with
    one file for each channel, as nnU-Net has them; ``path::key::index`` for an element of an array
    in an npz file; or ``array::n`` for element ``n`` of `arrays`. Where the target is a class or a
    number for the whole image, ``target`` holds its text.

    Args:
        table: An Arrow table; missing core columns are added as null.
        arrays: Pixels in memory that ``array::n`` refers to.

    Raises:
        DataError: If ``id`` or ``image`` is missing or null somewhere, or an id occurs twice.

    Example:
        >>> manifest = Manifest.from_columns({"id": ["a", "b"], "image": ["a.tif", "b.tif"]})
        >>> len(manifest), manifest.row(1)["image"]
        (2, 'b.tif')
    """

    def __init__(self, table: Any, arrays: Sequence[Any] = ()) -> None:
        self._table = _with_core(table)
        self._arrays = arrays
        self._file: Path | None = None
        _check_ids(self._table)

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any], arrays: Sequence[Any] = ()) -> Manifest:
        """Make a manifest of columns: lists, numpy or Arrow arrays of one length."""
        return cls(pa.table(dict(columns)), arrays)

    @property
    def table(self) -> Any:
        """The Arrow table."""
        return self._table

    @property
    def arrays(self) -> Sequence[Any]:
        """Pixels in memory, one element for each ``array::n``."""
        return self._arrays

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, those of the user last."""
        return tuple(self._table.column_names)

    @property
    def nbytes(self) -> int:
        """Memory that the table takes."""
        return int(self._table.nbytes)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __repr__(self) -> str:
        parts = ", ".join(f"{count} {name}" for name, count in self.counts().items())
        return f"Manifest({len(self)} samples{': ' + parts if parts else ''})"

    def row(self, index: int) -> dict[str, Any]:
        """Return one sample as a dict of plain values, ``None`` where there is none."""
        if not -len(self) <= index < len(self):
            message = f"row {index} of {len(self)}"
            raise IndexError(message)
        at = index % len(self)
        return {name: self._table.column(name)[at].as_py() for name in self.columns}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Iterate over the samples as dicts, a block of rows at a time."""
        for batch in self._table.to_batches(max_chunksize=4096):
            yield from batch.to_pylist()

    def column(self, name: str) -> list[Any]:
        """Return a column as a list of plain values; `table` gives the Arrow column without a copy.

        Raises:
            DataError: If there is no such column.
        """
        self.require(name)
        return list(self._table.column(name).to_pylist())

    def require(self, name: str) -> None:
        """Check that a column exists.

        Raises:
            DataError: If it does not, with the nearest name.
        """
        if name not in self.columns:
            message = (
                f"the table has no column '{name}', but {listed(self.columns, 20)}."
                f"{did_you_mean(name, self.columns)}"
            )
            raise DataError(message)

    def counts(self) -> dict[str, int]:
        """Return the number of samples in each split that has any, training first."""
        found = {
            entry["values"]: entry["counts"]
            for entry in pc.value_counts(self._table.column("split")).to_pylist()
        }
        return {name: found[name] for name in SPLITS if name in found}

    def select(self, split: str) -> Manifest:
        """Return the samples of one split, in the same order.

        Raises:
            DataError: If there is no split of that name.
        """
        if split not in SPLITS:
            message = f"unknown split '{split}', expected one of {listed(SPLITS)}"
            raise DataError(message)
        return self.filter(pc.equal(self._table.column("split"), split))

    def filter(self, mask: Any) -> Manifest:
        """Return the samples where a mask (Arrow or numpy, boolean) is true."""
        return self._with_table(
            self._table.filter(pa.array(mask) if isinstance(mask, np.ndarray) else mask)
        )

    def take(self, indices: Sequence[int] | np.ndarray) -> Manifest:
        """Return the samples at these positions, in this order; each at most once."""
        return self._with_table(self._table.take(pa.array(np.asarray(indices, dtype=np.int64))))

    def with_column(self, name: str, values: Any) -> Manifest:
        """Return a manifest with a column added or replaced; core columns become text."""
        if isinstance(values, str) or values is None:
            values = pa.array([values], pa.string()).take(pa.array(np.zeros(len(self), np.int64)))
        elif not isinstance(values, (pa.Array, pa.ChunkedArray)):
            values = pa.array(values)
        if name in CORE:
            values = values.cast(pa.string())
        if name in self.columns:
            at = self.columns.index(name)
            return self._with_table(self._table.set_column(at, name, values))
        return self._with_table(self._table.append_column(name, values))

    def sorted_by_id(self) -> Manifest:
        """Return the samples in the order of their ids, whatever the file system said."""
        return self._with_table(self._table.sort_by("id"))

    def shared(self, file: Path) -> Manifest:
        """Write the table to an Arrow file and return a manifest that maps it into memory.

        Its pickle holds the path alone, so that a spawned worker costs no copy. The file must stay
        as long as the manifest is used.
        """
        with (
            replacing(file) as part,
            pa.OSFile(str(part), "wb") as sink,
            pa.ipc.new_file(sink, self._table.schema) as writer,
        ):
            writer.write_table(self._table)
        mapped = self._with_table(_map(file))
        mapped._file = file.absolute()
        return mapped

    def _with_table(self, table: Any) -> Manifest:
        made = object.__new__(type(self))
        made._table, made._arrays, made._file = table, self._arrays, None
        return made

    def __getstate__(self) -> dict[str, Any]:
        if self._file is not None and self._file.exists():
            return {"file": str(self._file), "arrays": self._arrays}
        return {"table": self._table, "arrays": self._arrays}

    def __setstate__(self, state: dict[str, Any]) -> None:
        file = state.get("file")
        self._file = Path(file) if file else None
        self._table = _map(self._file) if self._file else state["table"]
        self._arrays = state["arrays"]


def join(manifests: Sequence[Manifest]) -> Manifest:
    """Put manifests below each other; user columns that others lack become null there.

    Columns of the same name and different types become text. References to arrays in memory are
    renumbered.
    """
    arrays: list[Any] = []
    tables = []
    for manifest in manifests:
        tables.append(_renumbered(manifest, len(arrays)).table)
        arrays.extend(manifest.arrays)
    return Manifest(pa.concat_tables(_same_types(tables), promote_options="default"), arrays)


def _renumbered(manifest: Manifest, offset: int) -> Manifest:
    if not offset or not manifest.arrays:
        return manifest
    moved = manifest
    for name in ("image", "target", "weight"):
        values = [
            f"array::{int(value[7:]) + offset}" if value and value.startswith("array::") else value
            for value in manifest.column(name)
        ]
        moved = moved.with_column(name, pa.array(values, pa.string()))
    return moved


def _same_types(tables: list[Any]) -> list[Any]:
    names = dict.fromkeys(name for table in tables for name in table.column_names)
    for name in names:
        kinds = {table.schema.field(name).type for table in tables if name in table.column_names}
        kinds.discard(pa.null())
        if len(kinds) > 1:
            common = pa.float64() if all(map(_is_number, kinds)) else pa.string()
            tables = [_cast(table, name, common) for table in tables]
    return tables


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _cast(table: Any, name: str, kind: Any) -> Any:
    if name not in table.column_names:
        return table
    return table.set_column(table.column_names.index(name), name, table.column(name).cast(kind))


def _with_core(table: Any) -> Any:
    for name in ("id", "image"):
        if name not in table.column_names:
            message = f"a table of samples needs the column '{name}'"
            raise DataError(message)
    columns: dict[str, Any] = {}
    for name in CORE:
        if name in table.column_names:
            columns[name] = table.column(name).cast(pa.string())
        else:
            columns[name] = pa.nulls(table.num_rows, pa.string())
    columns.update({name: table.column(name) for name in table.column_names if name not in columns})
    # one chunk for each column: a row is then found without a search
    return pa.table(columns).combine_chunks()


def _check_ids(table: Any) -> None:
    for name in ("id", "image"):
        if table.column(name).null_count:
            message = f"{table.column(name).null_count} samples have no {name}"
            raise DataError(message)
    if pc.count_distinct(table.column("id")).as_py() == table.num_rows:
        return
    counted = pc.value_counts(table.column("id")).to_pylist()
    twice = sorted(entry["values"] for entry in counted if entry["counts"] > 1)
    message = (
        f"{len(twice)} ids occur more than once: {listed(twice)}. Give each sample an id of its own"
    )
    raise DataError(message)


def _map(file: Path) -> Any:
    # the map stays open as long as the table refers to its buffers
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(pa.memory_map(str(file), "rb"))
        return pa.ipc.open_file(source).read_all()
