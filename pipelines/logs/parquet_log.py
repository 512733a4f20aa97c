"""Read logs in Parquet, a part of a row group at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pa_parquet

from pipelines.logs.bad_rows import EmptyLogError
from pipelines.logs.columns import Columns
from pipelines.logs.kept_columns import kept_name
from pipelines.logs.log_file import BadLogRow, LogFile
from pipelines.logs.parquet_values import as_frame, as_stored
from pipelines.logs.values import ColumnReader
from tfdlrm.base import local_copies
from tfdlrm.base.errors import InputError

CHUNK_ROWS = 2**16

_MAGIC = b"PAR1"
"""The first bytes of a Parquet file."""


class ParquetLog(LogFile):
    """A Parquet file; see `LogFile`."""

    def __init__(
        self,
        path: Path,
        columns: Columns,
        on_bad_row: Literal["stop", "skip"] = "stop",
        labelled: bool = True,
        chunk_rows: int = CHUNK_ROWS,
        kept: Sequence[str] = (),
    ) -> None:
        super().__init__(path, columns, on_bad_row, labelled, kept)
        self._chunk_rows = chunk_rows
        if not self.num_bytes:
            raise EmptyLogError(f"{self.path} is empty, expected rows of a log")
        with self._open() as file:
            self._num_rows = file.metadata.num_rows
            schema = file.schema_arrow
        if not self._num_rows:
            raise EmptyLogError(f"{self.path} is empty, expected rows of a log")
        self._check_names(schema.names)
        for source, reader in self._readers.values():
            if source in self._in_file:
                self._check_type(schema.field(source), reader)

    def _chunks(self) -> Iterator[tuple[pl.DataFrame, np.ndarray, list[BadLogRow]]]:
        rows_before = 0
        names = list(dict.fromkeys(self._in_file))
        with self._open() as file:
            for batch in self._batches(file, names):
                numbers = np.arange(rows_before + 1, rows_before + 1 + batch.num_rows)
                rows_before += batch.num_rows
                self.bytes_read = self.num_bytes * rows_before // self._num_rows
                yield self._frame(batch), numbers, []

    def _frame(self, batch: Any) -> pl.DataFrame:
        """Return the columns to read, and those to keep as they are."""
        kept = [name for name in self._kept if name in batch.schema.names]
        if not kept:
            return as_frame(batch)
        read = [name for name in batch.schema.names if name in self._sources]
        return as_frame(batch.select(read)).hstack(
            [as_stored(batch.column(name), kept_name(name)) for name in kept]
        )

    def _batches(self, file: Any, names: list[str]) -> Iterator[Any]:
        rows_before = 0
        try:
            for batch in file.iter_batches(self._chunk_rows, columns=names):
                yield batch
                rows_before += batch.num_rows
            return
        except pa.ArrowInvalid:
            types = [file.schema_arrow.field(name).type for name in names]
            if not any(map(pa.types.is_fixed_size_list, types)):
                raise
        # Arrow reads no lists of a fixed size if one of them is missing. Polars does,
        # except in files that have time zones such as +05:30.
        rows = pl.scan_parquet(local_copies.local_copy(self.path), glob=False)
        rows = rows.select(pl.selectors.by_name(*names))
        for start in range(rows_before, self._num_rows, self._chunk_rows):
            yield rows.slice(start, self._chunk_rows).collect().to_arrow()

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """Open the file; errors become one line."""
        try:
            with (
                self._reading(),
                pa_parquet.ParquetFile(local_copies.local_copy(self.path)) as file,
            ):
                yield file
        except (
            pa.ArrowException,
            pl.exceptions.PolarsError,
            pl.exceptions.PanicException,
        ) as error:
            if not self._begins_as_parquet():
                raise InputError(
                    f"{self.path} is no Parquet file, which the description of the "
                    "columns (of a model, that of its training) expects: write its "
                    "rows as Parquet, for example by frame.to_parquet of pandas, or, "
                    "to prepare it, say its `format`, such as csv"
                ) from None
            reason = " ".join(str(error).split())
            raise InputError(
                f"{self.path} cannot be read as parquet: {reason}; expected a whole "
                "Parquet file"
            ) from None

    def _begins_as_parquet(self) -> bool:
        with local_copies.local_copy(self.path).open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC

    def _check_type(self, field: Any, reader: ColumnReader) -> None:
        dtype = field.type
        try:
            (dtype,) = as_frame(pa.schema([field]).empty_table()).dtypes
            is_readable = reader.accepts(dtype)
        except (pl.exceptions.PolarsError, pa.ArrowException):
            is_readable = False
        if not is_readable:
            raise InputError(
                f"{self.path}: column {field.name!r} is of type {dtype}, expected "
                f"{reader.expected}: write it as another type, or describe it otherwise"
            )
