"""One's own logs, CSV, TSV or Parquet, as typed data frames of bounded size."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
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
from pipelines.logs.label_values import count_labels, label_texts, require_described
from pipelines.logs.values import Kind, kinds
from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.base.nearest import did_you_mean

_COLUMN_HINT = "describe the column otherwise, if it holds something else"


@dataclass(frozen=True)
class BadLogRow(BadRow):
    """A bad row; rows are counted from 1, a header line too, blank lines not."""

    unit: str = "row"


class MissingColumnError(InputError):
    """A file lacks a column, or has it twice, or no head line that can be read."""


class LogFile(ABC):
    """A file of a log whose columns are described.

    Iterating reads it once from the start, in chunks that are the same each time.

    Args:
        path: The file.
        columns: What its columns are.
        on_bad_row: What a row with a bad value does: `stop` raises with its place,
            `skip` leaves it out and counts it in `skipped`.
        labelled: Whether to read what only training needs: the label, and the day or
            time that defines the split. Otherwise these columns may be absent.

    Attributes:
        num_bytes: Size of the file as stored.
        bytes_read: How many of these have been read, about.
        position: Where `frames` goes on after the frame that it yielded last.
        skipped: What `skip` left out so far.

    Yields:
        Data frames: the label as UInt8, dense columns as Float64 before any transform,
        single-hot ones as String and multi-hot ones as lists of String; null where
        missing, but an empty list. With a day or time also its number, as Int64 under
        the name `log_values.TIME_KEY`.

    Raises:
        EmptyLogError: If the file has no rows.
        InputError: If the file is missing, unreadable or damaged, or lacks a column;
            under `stop`, if it has a bad row; and if it has no good one at all.
    """

    def __init__(
        self,
        path: Path,
        columns: Columns,
        on_bad_row: Literal["stop", "skip"] = "stop",
        labelled: bool = True,
    ) -> None:
        self.path = storage.at(path)
        self.columns = columns
        self.labelled = labelled
        self.bytes_read = self.position = 0
        self.skipped = SkippedRows()
        self._on_bad_row = on_bad_row
        self._kinds = kinds(columns, labelled)
        self._sources = [source for source, _ in self._kinds.values()]
        is_remote = storage.is_remote(self.path)
        self._partitions = partition_values(
            self.path if is_remote else self.path.absolute()
        )
        with self._reading():
            self.num_bytes = self.path.stat().st_size

    def __iter__(self) -> Iterator[pl.DataFrame]:
        return self.frames()

    def frames(self, position: int = 0) -> Iterator[pl.DataFrame]:
        """The frames from `position` on, a value that the attribute had before."""
        self.skipped = SkippedRows()
        self.position, found_rows = position, position > 0
        for number, (rows, numbers, bad_rows) in enumerate(self._chunks()):
            if number < position:
                continue
            frame = self._typed(rows, numbers, bad_rows)
            self.position = number + 1
            if frame.height:
                found_rows = True
                yield frame
        if not found_rows:
            first = next(iter(self.skipped.examples.values()), "it has none")
            raise InputError(f"{self.path} has no good row: {first}; {_COLUMN_HINT}")

    @abstractmethod
    def _chunks(self) -> Iterator[tuple[pl.DataFrame, np.ndarray, list[BadLogRow]]]:
        """The columns as the file has them, the rows' numbers, and what is no row."""

    def _typed(
        self, rows: pl.DataFrame, numbers: np.ndarray, bad_rows: list[BadLogRow]
    ) -> pl.DataFrame:
        typed: dict[str, pl.Series] = {}
        for name, (source, kind) in self._kinds.items():
            values = self._values(rows, source)
            typed[name], is_bad = kind.typed(values)
            bad = is_bad.arg_true()
            self._refuse_column(source, kind, values, bad, numbers)
            for row in bad:
                problem = f"column {kind.problem(source, values[int(row)])}"
                place = int(numbers[row])
                bad_rows.append(BadLogRow(self.path, place, kind.noun, problem))
        frame = pl.DataFrame(typed)
        if not bad_rows:
            self._count_labels(rows)
            return frame
        first_of_row = {row.line: row for row in reversed(bad_rows)}
        self._refuse([first_of_row[line] for line in sorted(first_of_row)])
        is_good = ~np.isin(numbers, list(first_of_row))
        self._count_labels(rows.filter(is_good))
        return frame.filter(is_good)

    def _count_labels(self, rows: pl.DataFrame) -> None:
        if self.labelled:
            columns, counts = self.columns, self.skipped.labels
            count_labels(
                counts, label_texts(self._values(rows, columns.label), columns)
            )
            require_described(counts, columns, str(self.path))

    def _values(self, rows: pl.DataFrame, source: str) -> pl.Series:
        """A column, or the value of all rows that the file's folder names."""
        if source in self._in_file:
            # Polars takes a name such as `^…$` for a pattern.
            return rows[source].alias("values")
        value = self._partitions[source]
        return pl.repeat(value, rows.height, dtype=pl.String, eager=True)

    def _refuse_column(
        self,
        name: str,
        kind: Kind,
        values: pl.Series,
        bad: pl.Series,
        numbers: np.ndarray,
    ) -> None:
        """Refuse a column of which most values are bad: no row is at fault then."""
        there = len(values) - (values.null_count() if kind.may_be_missing else 0)
        if self._on_bad_row == "skip" or len(bad) < 2 or 2 * len(bad) <= there:
            return
        first = int(bad[0])
        value = values[first]
        raise InputError(
            f"{self.path}: column {name!r} is not as it is described: {len(bad):,} of "
            f"{there:,} values are bad, the first is {quote_value(value)} in row "
            f"{int(numbers[first])}, expected {kind.expected}{kind.explain(value)}; "
            f"{_column_hint(value, name in self.columns.dense_features)}"
        )

    def _refuse(self, bad_rows: list[BadLogRow]) -> None:
        if self._on_bad_row == "stop":
            raise BadRowError(bad_rows[0])
        for row in bad_rows:
            self.skipped.add(row)

    def _check_names(self, there: list[str]) -> None:
        in_folders = [name for name in self._partitions if name not in there]
        needed = dict.fromkeys(self._sources)
        self._in_file = [name for name in needed if name not in in_folders]
        for name in self._in_file:
            if there.count(name) != 1:
                problem = "no column" if name not in there else "several columns"
                names = ", ".join(repr(each) for each in there[:20])
                more = ", …" if len(there) > 20 else ""
                hint = did_you_mean(name, set(there) - {name})
                raise MissingColumnError(
                    f"{self.path} has {problem} {name!r}, expected one: it has "
                    f"{names}{more}{hint}; {_names_hint(name, there)}"
                )

    def _reading(self) -> AbstractContextManager[None]:
        return reading(self.path, f"a {self.columns.format} file")


def _column_hint(value: object, is_dense: bool) -> str:
    if isinstance(value, bytes) and value.startswith(b'"'):
        return "if quotes are not part of values, say `quote: '\"'` in the description"
    return _COLUMN_HINT + (": text is categorical" if is_dense else "")


def _names_hint(name: str, there: list[str]) -> str:
    if len(there) == 1 and any(each in there[0] for each in ",;|\t"):
        return "say what separates them by `separator` in the description"
    if f'"{name}"' in there:
        return "its head line is in quotes: say `quote: '\"'` in the description"
    return "mend the description of the columns, or the file"
