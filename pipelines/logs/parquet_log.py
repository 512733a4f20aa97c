"""Logs in Parquet, read a part of a row group at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pa_parquet

from pipelines.logs.bad_rows import EmptyLogError
from pipelines.logs.columns import Columns
from pipelines.logs.log_file import BadLogRow, LogFile
from pipelines.logs.parquet_values import as_frame
from pipelines.logs.values import Kind
from tfdlrm.base.errors import InputError
from tfdlrm.base.local_copies import local_copy

CHUNK_ROWS = 2**16


class ParquetLog(LogFile):
    """A Parquet file; see `LogFile`."""

    def __init__(
        self,
        path: Path,
        columns: Columns,
        on_bad_row: Literal["stop", "skip"] = "stop",
        labelled: bool = True,
        chunk_rows: int = CHUNK_ROWS,
    ) -> None:
        super().__init__(path, columns, on_bad_row, labelled)
        self._chunk_rows = chunk_rows
        if not self.num_bytes:
            raise EmptyLogError(f"{self.path} is empty, expected rows of a log")
        with self._opened() as file:
            self._num_rows = file.metadata.num_rows
            schema = file.schema_arrow
        if not self._num_rows:
            raise EmptyLogError(f"{self.path} is empty, expected rows of a log")
        self._check_names(schema.names)
        for source, kind in self._kinds.values():
            if source in self._in_file:
                self._check_type(schema.field(source), kind)

    def _chunks(self) -> Iterator[tuple[pl.DataFrame, np.ndarray, list[BadLogRow]]]:
        done = 0
        names = list(dict.fromkeys(self._in_file))
        with self._opened() as file:
            for batch in self._batches(file, names):
                numbers = np.arange(done + 1, done + 1 + batch.num_rows)
                done += batch.num_rows
                self.bytes_read = self.num_bytes * done // self._num_rows
                yield as_frame(batch), numbers, []

    def _batches(self, file: Any, names: list[str]) -> Iterator[Any]:
        done = 0
        try:
            for batch in file.iter_batches(self._chunk_rows, columns=names):
                yield batch
                done += batch.num_rows
            return
        except pa.ArrowInvalid:
            types = [file.schema_arrow.field(name).type for name in names]
            if not any(map(pa.types.is_fixed_size_list, types)):
                raise
        # Of lists of a fixed size Arrow reads none where one is missing. Polars does,
        # but of files that have time zones such as +05:30.
        rows = pl.scan_parquet(local_copy(self.path), glob=False)
        rows = rows.select(pl.selectors.by_name(*names))
        for start in range(done, self._num_rows, self._chunk_rows):
            yield rows.slice(start, self._chunk_rows).collect().to_arrow()

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """The file, errors turned into one line."""
        try:
            with (
                self._reading(),
                pa_parquet.ParquetFile(local_copy(self.path)) as file,
            ):
                yield file
        except (
            pa.ArrowException,
            pl.exceptions.PolarsError,
            pl.exceptions.PanicException,
        ) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{self.path} cannot be read as parquet: {reason}; expected a whole "
                "Parquet file"
            ) from None

    def _check_type(self, field: Any, kind: Kind) -> None:
        dtype = field.type
        try:
            (dtype,) = as_frame(pa.schema([field]).empty_table()).dtypes
            is_readable = kind.takes(dtype)
        except (pl.exceptions.PolarsError, pa.ArrowException):
            is_readable = False
        if not is_readable:
            raise InputError(
                f"{self.path}: column {field.name!r} is of type {dtype}, expected "
                f"{kind.expected}: write it as another type, or describe it otherwise"
            )
