"""Open the raw files of a log by their format."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import polars as pl

from pipelines.logs.bad_rows import EmptyLogError, SkippedRows
from pipelines.logs.columns import Columns
from pipelines.logs.criteo_file import RawFile
from pipelines.logs.log_file import LogFile
from pipelines.logs.parquet_log import ParquetLog
from pipelines.logs.text_log import TextLog
from tfdlrm.base.errors import InputError


def open_log(
    path: Path,
    columns: Columns,
    on_bad_row: Literal["stop", "skip"] = "stop",
    labelled: bool = True,
    kept: Sequence[str] = (),
) -> TextLog | ParquetLog:
    """Open the file of a described log; arguments as for `LogFile`."""
    log_class = ParquetLog if columns.format == "parquet" else TextLog
    return log_class(path, columns, on_bad_row, labelled, kept=kept)


class EmptyFile:
    """A raw file without rows, such as a part of a job's output that got none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_bytes = self.bytes_read = path.stat().st_size
        self.position = 0
        self.skipped = SkippedRows()

    def frames(self, position: int = 0) -> Iterator[pl.DataFrame]:
        """Yield nothing."""
        yield from ()


RawSource = RawFile | LogFile | EmptyFile


def open_all(
    paths: Sequence[Path],
    columns: Columns,
    on_bad_row: Literal["stop", "skip"] = "stop",
) -> list[RawSource]:
    """Open raw files that have labels; some of them may be empty.

    Raises:
        InputError: If a file cannot be read or has no labels; or if all are empty.
    """
    files = [open_raw(path, columns, on_bad_row) for path in paths]
    empty = [file.path for file in files if isinstance(file, EmptyFile)]
    if len(empty) == len(files):
        _open(empty[0], columns, on_bad_row)  # raises, and says what was expected
    if empty:
        ellipsis = ", …" if len(empty) > 5 else ""
        names = ", ".join(map(str, empty[:5]))
        print(f"{len(empty)} of {len(files)} files have no rows: {names}{ellipsis}")
    return files


def open_raw(
    path: Path, columns: Columns, on_bad_row: Literal["stop", "skip"] = "stop"
) -> RawSource:
    """Open a raw file that has labels, or is empty.

    Raises:
        InputError: If the file cannot be read, or has rows without labels.
    """
    try:
        return _open(path, columns, on_bad_row)
    except EmptyLogError:
        return EmptyFile(path)


def _open(
    path: Path, columns: Columns, on_bad_row: Literal["stop", "skip"] = "stop"
) -> RawFile | LogFile:
    if not columns.is_criteo:
        return open_log(path, columns, on_bad_row)
    file = RawFile(path, on_bad_row)
    if not file.labelled:
        raise InputError(
            f"{path} has 39 columns, expected 40: its rows have no label, so they can "
            "be scored with `python -m tfdlrm.predict` but not prepared for training"
        )
    return file
