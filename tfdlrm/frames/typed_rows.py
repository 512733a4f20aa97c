"""The rows of a frame as typed rows of a log, so that they get the same ids."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import polars as pl
import pyarrow as pa

from pipelines.logs import criteo
from pipelines.logs.columns import Columns
from pipelines.logs.label_values import (
    count_labels,
    label_texts,
    require_described,
    with_negatives,
)
from pipelines.logs.parquet_values import as_frame
from pipelines.logs.value_texts import texts
from pipelines.logs.values import TIME_KEY, ColumnReader, column_readers
from tfdlrm.base.errors import InputError
from tfdlrm.frames.arrow_values import arrow_values
from tfdlrm.frames.named_columns import NamedColumns

WHERE = "the frame"

_INFINITE = (
    "; inf is no number to learn from: replace it, for example by a missing value"
)


def arrow_columns(frame: NamedColumns, names: Iterable[str]) -> dict[str, pa.Array]:
    """Return some columns of a frame as Arrow arrays of the same length.

    Raises:
        InputError: If a column is missing, or cannot be used, or is shorter.
    """
    names = list(names)
    lengths = frame.num_rows(names)
    if len(set(lengths.values())) > 1:
        lengths_in_words = ", ".join(
            f"{name!r} has {rows}" for name, rows in lengths.items()
        )
        raise InputError(
            f"the columns have different numbers of rows ({lengths_in_words}), "
            "expected the same"
        )
    return {name: arrow_values(frame[name], name) for name in names}


@dataclass(frozen=True)
class RowReader:
    """Reads described rows of frames.

    Args:
        columns: The columns; how files are written does not matter.
        booleans: How the values of a model spell `true` and `false`, by the names of
            the columns where they spell them otherwise.
    """

    columns: Columns
    booleans: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def features(self, frame: NamedColumns) -> pl.DataFrame:
        """Return the typed features, as `pipelines.logs.log_file` yields them.

        Raises:
            InputError: If a column is missing or has a value that cannot be used.
        """
        columns = arrow_columns(frame, self.columns.raw_columns)
        return self._typed(columns, self.columns.raw_columns)

    def check_days(self, frame: NamedColumns) -> None:
        """Check the column that says which rows are held out, if there is one.

        Raises:
            InputError: If it is missing or has a value that is no day or time.
        """
        days_by = self.columns.days_by
        if days_by is not None:
            (array,) = arrow_columns(frame, [days_by.name]).values()
            reader = self._readers[TIME_KEY]
            self._convert(days_by.name, array, _polars(array), reader)

    def labels(self, frame: NamedColumns) -> pl.Series:
        """Return the labels, 0 or 1.

        Raises:
            InputError: If there is none, or one has a value that means neither.
        """
        name = self.columns.label
        columns = arrow_columns(frame, [name])
        labels = self._typed(columns, [name])[name]
        require_described(self._label_counts(columns), self.columns, WHERE)
        return labels

    def with_negatives(self, frame: NamedColumns) -> Columns:
        """Return the columns with the value that means 0, if the frame has labels."""
        columns = self.columns
        if columns.positive is None or columns.negative or columns.label not in frame:
            return columns
        counts = self._label_counts(arrow_columns(frame, [columns.label]))
        require_described(counts, columns, WHERE)
        return with_negatives(columns, counts)

    def _label_counts(self, columns: Mapping[str, pa.Array]) -> Counter[str]:
        counts: Counter[str] = Counter()
        labels = _polars(columns[self.columns.label])
        count_labels(counts, label_texts(labels, self.columns))
        return counts

    def _typed(
        self, columns: Mapping[str, pa.Array], names: Iterable[str]
    ) -> pl.DataFrame:
        if not columns:
            return pl.DataFrame()
        return pl.DataFrame(
            {name: self._typed_column(name, columns[name]) for name in names}
        )

    def _typed_column(self, name: str, array: pa.Array) -> pl.Series:
        values = _polars(array)
        typed = self._convert(name, array, values, self._reader(name, values.dtype))
        spelling = self.booleans.get(name)
        if spelling is None:
            return typed
        if values.dtype == pl.Boolean:
            return typed.replace(spelling)
        if values.dtype == pl.List(pl.Boolean):
            return typed.list.eval(pl.element().replace(spelling))
        return typed

    def _convert(
        self, name: str, array: pa.Array, values: pl.Series, reader: ColumnReader
    ) -> pl.Series:
        if not reader.accepts(values.dtype):
            is_time = pa.types.is_timestamp(array.type)
            hint = "; times become dates by .dt.date" if is_time else ""
            raise InputError(
                f"column {name!r} is of type {array.type}, expected {reader.expected}: "
                f"convert it, or describe it otherwise{hint}"
            )
        typed, is_bad = reader.convert(values)
        rows = is_bad.arg_true()
        if not len(rows):
            return typed
        row = int(rows[0])
        more = f", and {len(rows) - 1:,} more are bad" if len(rows) > 1 else ""
        is_missing = values[row] is None
        fix = "drop such rows" if is_missing else "fix the value, or drop the row"
        if name in self.columns.number_columns and isinstance(values[row], str):
            fix = f"if {name!r} is text, list it under categorical; else {fix}"
        if isinstance(values[row], float) and values[row] in (_INF, -_INF):
            fix += _INFINITE
        problem = reader.problem(name, values[row])
        raise InputError(f"row {row} (from 0): column {problem}{more}; {fix}")

    def _reader(self, name: str, dtype: Any) -> ColumnReader:
        if self.columns.is_criteo and name in self.columns.single_hot:
            return _HASH_READER
        if isinstance(dtype, pl.List) and name in self._bags_in_text:
            # A frame may have split the text that a file holds.
            return self._readers_of_lists[name]
        return self._readers[name]

    @cached_property
    def _bags_in_text(self) -> dict[str, str]:
        bags = zip(self.columns.multi_hot, self.columns.separators, strict=True)
        return {name: separator for name, separator in bags if separator is not None}

    @cached_property
    def _readers(self) -> dict[str, ColumnReader]:
        return _readers(replace(self.columns, format="parquet"))

    @cached_property
    def _readers_of_lists(self) -> dict[str, ColumnReader]:
        separators = (None,) * len(self.columns.multi_hot)
        return _readers(replace(self.columns, format="parquet", separators=separators))


_INF = float("inf")


def _readers(columns: Columns) -> dict[str, ColumnReader]:
    readers = column_readers(columns, labelled=True)
    return {name: reader for name, (_, reader) in readers.items()}


def _polars(array: pa.Array) -> pl.Series:
    try:
        return as_frame(pa.table({"values": array}))["values"]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"a column of type {array.type} cannot be read ({reason}), expected "
            "numbers, text, booleans, dates, or lists of them: convert it or drop it"
        ) from None


def _hashes(values: pl.Series) -> pl.Series:
    """Return hexadecimal text as the 32-bit numbers that Criteo's logs have."""
    text = texts(values).alias("values")
    is_hash = text.str.contains("^0*[0-9a-fA-F]{1,8}$").fill_null(value=True)
    frame = pl.DataFrame({"values": text.set(~is_hash, None)})
    return frame.select(criteo.categorical_value("values")).to_series()


_HASH_READER = ColumnReader(
    "bad category",
    "a hexadecimal number of at most 32 bits or nothing, as text",
    _hashes,
    accepts=lambda dtype: isinstance(
        dtype, pl.String | pl.Binary | pl.Categorical | pl.Enum | pl.Null
    ),
)
