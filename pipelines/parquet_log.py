"""Logs in Parquet, read a part of a row group at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pa_parquet

from pipelines.bad_rows import EmptyLogError
from pipelines.columns import Columns
from pipelines.log_values import Kind
from pipelines.logs import BadLogRow, LogFile
from tfdlrm import storage
from tfdlrm.errors import InputError

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
        types = pl.DataFrame(schema.empty_table()).schema
        for source, kind in self._kinds.values():
            self._check_type(source, types.get(source, pl.String()), kind)

    def _chunks(self) -> Iterator[tuple[pl.DataFrame, np.ndarray, list[BadLogRow]]]:
        done = 0
        names = list(dict.fromkeys(self._in_file))
        with self._opened() as file:
            for batch in file.iter_batches(self._chunk_rows, columns=names):
                numbers = np.arange(done + 1, done + 1 + batch.num_rows)
                done += batch.num_rows
                self.bytes_read = self.num_bytes * done // self._num_rows
                yield pl.DataFrame(batch), numbers, []

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """The file, errors turned into one line."""
        try:
            with (
                self._reading(),
                pa_parquet.ParquetFile(storage.local_copy(self.path)) as file,
            ):
                yield file
        except pa.ArrowException as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{self.path} cannot be read as parquet: {reason}; expected a whole "
                "Parquet file"
            ) from None

    def _check_type(self, name: str, dtype: pl.DataType, kind: Kind) -> None:
        if not kind.takes(dtype):
            raise InputError(
                f"{self.path}: column {name!r} is of type {dtype}, expected "
                f"{kind.expected}: write it as another type, or describe it otherwise"
            )
