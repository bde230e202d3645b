"""Columns of the table that join the image as input: from cells to features of a net.

A column of numbers is one feature, standardised by mean and deviation of the training samples; a
column of named values is one feature of 0 or 1 for each of them. `encode_tabular` does the same for
the rows that a model is applied to later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from imtoolkit.config.sections import DataConfig, TabularConfig
from imtoolkit.core.errors import DataError, Problem, did_you_mean, listed
from imtoolkit.core.facts import DataFacts
from imtoolkit.data.columns import LARGEST, mean_and_std, texts_in
from imtoolkit.data.sources.base import shortened
from imtoolkit.data.table import CORE, Manifest

_GAPS = ("", "na", "n/a", "nan", "null", "<na>", "#n/a")


@dataclass(frozen=True)
class TabularEncoder:
    """Turns the columns of ``data.tabular`` into features.

    Attributes:
        columns: What stands in the config.
        mean: What is subtracted from each feature: 0 for those of named values.
        std: What each feature is divided by: 1 for those of named values.
    """

    columns: tuple[TabularConfig, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", feature_names(self.columns))

    @classmethod
    def fitted(cls, columns: Sequence[TabularConfig], training: Any) -> TabularEncoder:
        """Return an encoder that standardises by an Arrow table of training samples.

        Raises:
            DataError: With everything that cannot be encoded.
        """
        raw = read_features(training, columns)
        mean, std = mean_and_std(raw)
        numbers = [column.values is None for column in columns for _ in _features(column)]
        pairs = list(zip(mean, std, numbers, strict=True))
        return cls(
            tuple(columns),
            tuple(value if number else 0.0 for value, _, number in pairs),
            # a column of one value tells nothing: it becomes 0
            tuple(spread if number and spread > 0 else 1.0 for _, spread, number in pairs),
        )

    def __call__(self, table: Any) -> NDArray[np.float32]:
        """Return the features of an Arrow table, standardised, float32 ``(N, F)``.

        Raises:
            DataError: With everything that cannot be encoded.
        """
        raw = read_features(table, self.columns)
        scaled: NDArray[np.float32] = ((raw - self.mean) / self.std).astype(np.float32)
        return scaled


def encode_tabular(
    rows: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Any,
    config: DataConfig,
    facts: DataFacts,
) -> torch.Tensor:
    """Encode rows as the training samples were, for a net that takes the key ``tabular``.

    Args:
        rows: A dict for one image, a list of dicts, or an Arrow table. An ``id`` or ``image`` among
            the entries names the row in messages.
        config: Section ``data`` of the run's config.
        facts: What the training data told: mean and deviation of each feature.

    Returns:
        Float32 ``(N, F)``.

    Raises:
        DataError: With all gaps, unknown values and texts among numbers, each with its row.

    Example:
        >>> config = DataConfig(sources={}, tabular=[TabularConfig("age")])
        >>> facts = DataFacts(2, 1, tabular=("age",), tabular_mean=(40.0,), tabular_std=(10.0,))
        >>> encode_tabular({"age": 65}, config, facts)
        tensor([[2.5000]])
    """
    encoder = TabularEncoder(tuple(config.tabular), facts.tabular_mean, facts.tabular_std)
    if facts.tabular != encoder.names:
        message = (
            f"the model was trained on the columns {listed(facts.tabular, 20)}, but data.tabular "
            f"of the config makes {listed(encoder.names, 20)}"
        )
        raise DataError(message)
    return torch.from_numpy(encoder(_as_table(rows)))


def feature_names(columns: Sequence[TabularConfig]) -> tuple[str, ...]:
    """Return the names of the features of some columns.

    Example:
        >>> feature_names([TabularConfig("age"), TabularConfig("sex", ["f", "m"])])
        ('age', 'sex=f', 'sex=m')
    """
    return tuple(name for column in columns for name in _features(column))


def read_features(table: Any, columns: Sequence[TabularConfig]) -> NDArray[np.float64]:
    """Return the features of an Arrow table before they are standardised, ``(N, F)``.

    Raises:
        DataError: With missing columns, gaps without ``fill``, texts among numbers, and values that
            ``values`` does not name: all of them at once, each with the remedy.
    """
    problems: list[Problem] = []
    parts: list[NDArray[np.float64]] = []
    ids = _ids(table)
    for place, column in enumerate(columns):
        where = f"data.tabular.{place}"
        if column.column not in table.column_names:
            problems.append(Problem(_absent(column.column, table.column_names), where))
            continue
        texts = texts_in(table.column(column.column))
        different = pc.unique(texts)
        rows = np.asarray(pc.index_in(texts, value_set=different)).astype(np.int64)
        known, wrong = _read(column, different.to_pylist())
        parts.append(known[rows])
        problems += _problems(column, where, wrong, rows, ids)
    if problems:
        raise DataError(problems)
    return np.concatenate(parts, axis=1) if parts else np.empty((len(ids), 0))


def _features(column: TabularConfig) -> list[str]:
    if column.values is None:
        return [column.column]
    return [f"{column.column}={value}" for value in column.values]


def _absent(name: str, known: Sequence[str]) -> str:
    known = [column for column in known if column not in CORE]
    return (
        f"there is no column '{name}' beside the images, but {listed(known, 20) or 'none'}."
        f"{did_you_mean(name, known)} data.tabular needs a table that has it (csv, with the column "
        f"'{name}')"
    )


def _read(
    column: TabularConfig, texts: Sequence[str]
) -> tuple[NDArray[np.float64], dict[int, str]]:
    """Return the features of each text, and what is wrong with some."""
    found, wrong = [], {}
    for number, text in enumerate(texts):
        gap = text.lower() in _GAPS
        if column.values is not None:
            if text not in column.values and not gap:
                wrong[number] = f"'{text}' is none of {listed(column.values, 20)}"
            found.append([float(text == value) for value in column.values])
            continue
        value = _number(text)
        if gap and column.fill is not None:
            value = column.fill
        elif gap:
            wrong[number] = "there is a gap"
        elif value is None:
            wrong[number] = f"'{text}' is not a number that a net can be given"
        found.append([value or 0.0])
    return np.array(found, np.float64).reshape(len(texts), len(_features(column))), wrong


def _number(text: str) -> float | None:
    if text.lower() in ("true", "false"):
        return float(text.lower() == "true")
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) <= LARGEST else None


def _problems(
    column: TabularConfig,
    where: str,
    wrong: Mapping[int, str],
    rows: NDArray[np.int64],
    ids: Sequence[str],
) -> list[Problem]:
    if not wrong:
        return []
    places = np.flatnonzero(np.isin(rows, list(wrong))).tolist()
    found = [
        Problem(f"sample '{ids[row]}': column '{column.column}': {wrong[int(rows[row])]}", where)
        for row in places
    ]
    gaps = any(text == "there is a gap" for text in wrong.values())
    texts = any(text != "there is a gap" for text in wrong.values())
    remedies = []
    if column.values is not None:
        remedies.append("name the value in 'values', or leave the cell empty for none of them")
    elif texts:
        remedies.append("write numbers, or list the texts as 'values' of the column")
    if gaps:
        remedies.append("fill the gaps, or give the number that stands for them as 'fill'")
    remedy = f"{len(places)} of {len(ids)} samples cannot be used: {'; '.join(remedies)}"
    return [*shortened(found), Problem(remedy, where)]


def _ids(table: Any) -> list[str]:
    for name in ("id", "image"):
        if name in table.column_names:
            return [str(value) for value in table.column(name).to_pylist()]
    return [f"row {number}" for number in range(table.num_rows)]


def _as_table(rows: Any) -> Any:
    if isinstance(rows, Manifest):
        return rows.table
    if isinstance(rows, pa.Table):
        return rows
    entries = [rows] if isinstance(rows, Mapping) else list(rows)
    names = list(dict.fromkeys(name for row in entries for name in row))
    # as text: a list may hold numbers, texts and gaps beside each other
    columns = {
        name: pa.array([_text(row.get(name)) for row in entries], pa.string()) for name in names
    }
    return pa.table(columns)


def _text(value: Any) -> str | None:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if value is None else str(value)
