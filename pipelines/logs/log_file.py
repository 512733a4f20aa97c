"""Read described logs, CSV, TSV or Parquet, as typed data frames of bounded size."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from pipelines.logs.bad_rows import BadRow, BadRowError, SkippedRows, quote_value
from pipelines.logs.columns import Columns
from pipelines.logs.damage import reading
from pipelines.logs.inputs import partition_values
from pipelines.logs.kept_columns import check_kept, kept_name
from pipelines.logs.label_values import count_labels, label_texts, require_described
from pipelines.logs.value_texts import texts
from pipelines.logs.values import ColumnReader, column_readers
from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.base.nearest import did_you_mean

_COLUMN_HINT = "describe the column otherwise"


@dataclass(frozen=True)
class BadLogRow(BadRow):
    """A bad row; rows count from 1, with the head line and without blank lines."""

    unit: str = "row"


class MissingColumnError(InputError):
    """A file lacks a column or has it twice, or its head line cannot be read."""


class LogFile(ABC):
    """A file of a log whose columns are described.

    Iterating reads it once from the start, in chunks that are the same each time.

    Args:
        path: Path of the file.
        columns: The columns of the log.
        on_bad_row: The effect of a row with a bad value: `stop` raises an error that
            names it, `skip` leaves it out and counts it in `skipped`.
        labelled: Whether to read the columns that only training needs: the label, and
            the day or time that defines the split. If not, they may be absent.
        kept: Names of columns of the file to pass on next to the typed ones, under
            their `kept_name`: text or Parquet's own types.

    Attributes:
        num_bytes: Size of the file as stored.
        bytes_read: Number of these bytes that have been read, about.
        position: The position from which `frames` continues after its latest frame.
        skipped: The rows that `skip` has left out so far.

    Yields:
        Data frames: the label as UInt8, dense columns as Float64 before any transform,
        single-hot columns as String and multi-hot columns as lists of String. A missing
        value is null, a missing list is empty. If a day or time defines the split, its
        number is in the Int64 column `values.TIME_KEY`.

    Raises:
        EmptyLogError: If the file has no rows.
        InputError: If the file is missing, unreadable or damaged, or lacks a column; if
            it has a bad row, under `stop`; or if it has no good row.
    """

    def __init__(
        self,
        path: Path,
        columns: Columns,
        on_bad_row: Literal["stop", "skip"] = "stop",
        labelled: bool = True,
        kept: Sequence[str] = (),
    ) -> None:
        self.path = storage.at(path)
        self.columns = columns
        self.labelled = labelled
        self.bytes_read = self.position = 0
        self.skipped = SkippedRows()
        self._on_bad_row = on_bad_row
        self._kept = tuple(kept)
        self._readers = column_readers(columns, labelled)
        self._sources = [source for source, _ in self._readers.values()]
        is_remote = storage.is_remote(self.path)
        self._partitions = partition_values(
            self.path if is_remote else self.path.absolute()
        )
        with self._reading():
            self.num_bytes = self.path.stat().st_size

    def __iter__(self) -> Iterator[pl.DataFrame]:
        return self.frames()

    def frames(self, position: int = 0) -> Iterator[pl.DataFrame]:
        """Yield the frames from `position` on, an earlier value of the attribute."""
        self.skipped = SkippedRows()
        self.position, found_rows = position, position > 0
        for number, (rows, numbers, bad_rows) in enumerate(self._chunks()):
            if number < position:
                continue
            frame = self._convert(rows, numbers, bad_rows)
            self.position = number + 1
            if frame.height:
                found_rows = True
                yield frame
        if not found_rows:
            example = next(iter(self.skipped.examples.values()), "it has none")
            raise InputError(f"{self.path} has no good row: {example}; {_COLUMN_HINT}")

    @abstractmethod
    def _chunks(self) -> Iterator[tuple[pl.DataFrame, np.ndarray, list[BadLogRow]]]:
        """Yield the columns as in the file, the rows' numbers, and malformed rows."""

    def _convert(
        self, rows: pl.DataFrame, numbers: np.ndarray, bad_rows: list[BadLogRow]
    ) -> pl.DataFrame:
        typed: dict[str, pl.Series] = {}
        for name, (source, reader) in self._readers.items():
            values = self._values(rows, source)
            typed[name], is_bad = reader.convert(values)
            bad_indices = is_bad.arg_true()
            self._refuse_column(source, reader, values, bad_indices, numbers)
            for index in bad_indices:
                problem = f"column {reader.problem(source, values[int(index)])}"
                number = int(numbers[index])
                bad_rows.append(BadLogRow(self.path, number, reader.noun, problem))
        for name in self._kept:
            typed[kept_name(name)] = self._keep(rows, name, numbers, bad_rows)
        frame = pl.DataFrame(typed)
        if not bad_rows:
            self._count_labels(rows)
            return frame
        first_of_row = {row.line: row for row in reversed(bad_rows)}
        self._refuse([first_of_row[line] for line in sorted(first_of_row)])
        is_good = ~np.isin(numbers, list(first_of_row))
        self._count_labels(rows.filter(is_good))
        return frame.filter(is_good)

    def _keep(
        self,
        rows: pl.DataFrame,
        name: str,
        numbers: np.ndarray,
        bad_rows: list[BadLogRow],
    ) -> pl.Series:
        """Return a column that is passed on; text has to be UTF-8."""
        if kept_name(name) in rows.columns:
            return rows[kept_name(name)]
        values = self._values(rows, name)
        text = texts(values)
        for index in (text.is_null() & values.is_not_null()).arg_true():
            problem = f"column {name!r} is {quote_value(values[int(index)])}"
            problem += ", expected text in UTF-8"
            number = int(numbers[index])
            bad_rows.append(BadLogRow(self.path, number, "bad text", problem))
        return text

    def _count_labels(self, rows: pl.DataFrame) -> None:
        if self.labelled:
            columns, counts = self.columns, self.skipped.labels
            count_labels(
                counts, label_texts(self._values(rows, columns.label), columns)
            )
            require_described(counts, columns, str(self.path))

    def _values(self, rows: pl.DataFrame, source: str) -> pl.Series:
        """Return a column of the file, or a column of the value in a folder's name."""
        if source in self._in_file:
            # Elsewhere Polars would take a name such as `^…$` for a pattern.
            return rows[source].alias("values")
        value = self._partitions[source]
        return pl.repeat(value, rows.height, dtype=pl.String, eager=True)

    def _refuse_column(
        self,
        name: str,
        reader: ColumnReader,
        values: pl.Series,
        bad_indices: pl.Series,
        numbers: np.ndarray,
    ) -> None:
        """Refuse a column whose values are mostly bad: its description is wrong."""
        num_filled = len(values) - (values.null_count() if reader.may_be_missing else 0)
        num_bad = len(bad_indices)
        if self._on_bad_row == "skip" or num_bad < 2 or 2 * num_bad <= num_filled:
            return
        index = int(bad_indices[0])
        value = values[index]
        raise InputError(
            f"{self.path}: column {name!r} is not as it is described: {num_bad:,} of "
            f"{num_filled:,} values are bad, the first is {quote_value(value)} in row "
            f"{int(numbers[index])}, expected {reader.expected}"
            f"{reader.explain(value)}; "
            f"{self._column_hint(name, value)}"
        )

    def _column_hint(self, name: str, value: object) -> str:
        if isinstance(value, bytes) and value.startswith(b'"'):
            return (
                "if quotes are not part of values, say `quote: '\"'` in the description"
            )
        if name in self.columns.dense_features:
            return f"{_COLUMN_HINT}: if it is text, list it under categorical"
        if name in self.columns.number_columns:
            return f"{_COLUMN_HINT}: if it is text, it has no buckets or transform"
        return _COLUMN_HINT

    def _refuse(self, bad_rows: list[BadLogRow]) -> None:
        if self._on_bad_row == "stop":
            raise BadRowError(bad_rows[0])
        for row in bad_rows:
            self.skipped.add(row)

    def _check_names(self, file_names: list[str]) -> None:
        in_folders = [name for name in self._partitions if name not in file_names]
        needed = dict.fromkeys([*self._sources, *self._kept])
        self._in_file = [name for name in needed if name not in in_folders]
        for name in self._in_file:
            if name in self._sources and file_names.count(name) != 1:
                problem = "no column" if name not in file_names else "several columns"
                names = ", ".join(repr(file_name) for file_name in file_names[:20])
                more = ", …" if len(file_names) > 20 else ""
                hint = did_you_mean(name, set(file_names) - {name})
                raise MissingColumnError(
                    f"{self.path} has {problem} {name!r}, expected one: it has "
                    f"{names}{more}{hint}; {_names_hint(name, file_names)}"
                )
        check_kept(self._kept, [*file_names, *in_folders], self.path)

    def _reading(self) -> AbstractContextManager[None]:
        return reading(self.path, f"a {self.columns.format} file")


def _names_hint(name: str, file_names: list[str]) -> str:
    if len(file_names) == 1 and any(
        separator in file_names[0] for separator in ",;|\t"
    ):
        return "say what separates them by `separator` in the description"
    if f'"{name}"' in file_names:
        return "its head line is in quotes: say `quote: '\"'` in the description"
    return "fix the description of the columns, or the file"
