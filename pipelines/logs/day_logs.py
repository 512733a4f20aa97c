"""Cut a log into a log for each of its days, with the rows as they are written."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pa_parquet

from pipelines.logs.arrow_rows import parse_rows
from pipelines.logs.columns import Columns
from pipelines.logs.inputs import Inputs
from pipelines.logs.log_file import LogFile
from pipelines.logs.opening import EmptyFile, open_raw
from pipelines.logs.parquet_log import ParquetLog
from pipelines.logs.parquet_values import as_frame
from pipelines.logs.text_log import TextLog
from pipelines.logs.text_marks import RETURN, TextMarks
from pipelines.logs.text_rows import Rows
from pipelines.logs.times import describe_day
from pipelines.logs.values import KEYS_PER_DAY, TIME_KEY
from tfdlrm.base import storage

Part = tuple[int, Callable[[Path], None]]
"""A day, and a function that adds rows of it to a folder."""

_PACKED = (".gz", ".zst", ".zstd")


def cut_into_days(
    path: Path, columns: Columns, on_bad_row: Literal["stop", "skip"], output: Path
) -> list[str]:
    """Write a folder for each day of a log; the folder is a log of the same columns.

    Args:
        path: A file or folder of files whose columns have a day or time.
        columns: The columns of the log.
        on_bad_row: The effect of a malformed row: `stop` raises an error that names
            it; with `skip`, rows without a day are left out, and other malformed rows
            stay as they are.
        output: An existing directory.

    Returns:
        The names of the folders in order of time.

    Raises:
        InputError: If a file cannot be read or, under `stop`, has a malformed row.
    """
    days: set[int] = set()
    for number, file_path in enumerate(Inputs.of([path])):
        if isinstance(open_raw(file_path, columns, on_bad_row), EmptyFile):
            continue
        log_class = _ParquetDays if columns.format == "parquet" else _TextDays
        file = log_class(file_path, columns, on_bad_row)
        subfolder = _subfolder(file_path, number)
        for day, add_to in file.parts():
            days.add(day)
            folder = output / _name(day) / subfolder
            folder.mkdir(parents=True, exist_ok=True)
            add_to(folder)
    return [_name(day) for day in sorted(days)]


def _name(day: int) -> str:
    """Return the name of a day's folder: its date if it has one."""
    return describe_day(day).partition(" (")[0].replace(" ", "_")


def _subfolder(path: Path, number: int) -> Path:
    """Return a folder for the rows of a file; its parents name the same columns."""
    parents = path.parts if storage.is_remote(path) else path.absolute().parts
    partitions: list[str] = []
    for name in reversed(parents[:-1]):
        if name.find("=") < 1:
            break
        partitions.insert(0, name)
    return Path(f"{number:05d}", *partitions)


class _TextDays(TextLog):
    """A text log that is read day by day."""

    def parts(self) -> Iterator[Part]:
        """Yield the rows of each day, in the order of the file."""
        name = self.path.name
        for suffix in _PACKED:
            name = name.removesuffix(suffix)
        rows_before, head = 0, b""
        with self._file.open() as (text, _):
            pieces = self._file.pieces(text)
            awaits_head = self._has_head
            for rows in self._file.rows(pieces, self.style, len(self._names) == 1):
                num_heads = 0
                if awaits_head:
                    first_line = self.style.first_line(rows.text)
                    if first_line is None:
                        continue
                    start, end, _ = first_line
                    head, awaits_head, num_heads = rows.text[start:end], False, 1
                    rows = Rows(rows.text[end:], rows.malformed)
                num_rows, days = self._days(rows, rows_before, num_heads)
                rows_before += num_rows
                for day, part in days:
                    yield day, partial(_append, name, head, part)

    def _days(
        self, rows: Rows, rows_before: int, num_heads: int
    ) -> tuple[int, list[tuple[int, bytes]]]:
        """Return the number of rows, and the text of those of each day."""
        frame, bad_widths = parse_rows(
            rows.text, self.style, self._names, self._in_file
        )
        chunk = self._number(frame, bad_widths, rows.malformed, num_heads)
        days = _days_of(self, frame, chunk.numbers + rows_before, chunk.bad_rows)
        starts, ends = self._bounds(rows.text)
        is_read = np.ones(len(starts), bool)
        is_read[[number - 1 for number, _ in bad_widths]] = False
        positions = np.flatnonzero(is_read)
        parts = [
            (
                int(day),
                _join(rows.text, starts, ends, positions[days.to_numpy() == day]),
            )
            for day in days.drop_nulls().unique(maintain_order=True)
        ]
        return chunk.num_rows, parts

    def _bounds(self, text: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Return where the rows of a text start and end, without blank lines."""
        marks = TextMarks(text, self.style)
        ends = marks.outside(0, len(text), self.style.line_end[0]) + 1
        starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)[: len(ends)]
        if len(self._names) == 1:
            return starts, ends
        lengths = ends - starts
        is_blank = (lengths == 1) | ((lengths == 2) & (marks.codes[starts] == RETURN))
        return starts[~is_blank], ends[~is_blank]


class _ParquetDays(ParquetLog):
    """A log in Parquet that is read day by day."""

    def parts(self) -> Iterator[Part]:
        """Yield the rows of each day, in the order of the file."""
        rows_before = 0
        with self._open() as file:
            for number, batch in zip(
                count(), self._batches(file, file.schema_arrow.names), strict=False
            ):
                rows = pa.table(batch)
                numbers = np.arange(1, rows.num_rows + 1) + rows_before
                rows_before += rows.num_rows
                frame = as_frame(rows.select(self._in_file))
                days = _days_of(self, frame, numbers, [])
                for day in days.drop_nulls().unique(maintain_order=True):
                    part = rows.filter((days == day).fill_null(False).to_arrow())
                    yield int(day), partial(_write, f"{number:06d}.parquet", part)


def _days_of(
    file: LogFile, frame: pl.DataFrame, numbers: np.ndarray, bad_rows: list[Any]
) -> pl.Series:
    """Return the day of each row, null where it has none; check all under `stop`."""
    if file._on_bad_row == "stop":
        file._convert(frame, numbers, bad_rows)
    source, reader = file._readers[TIME_KEY]
    keys, is_bad = reader.convert(file._values(frame, source))
    days_by = file.columns.days_by
    assert days_by is not None
    return keys.set(is_bad, None) // KEYS_PER_DAY[days_by.kind]


def _join(
    text: bytes, starts: np.ndarray, ends: np.ndarray, positions: np.ndarray
) -> bytes:
    """Return the text of some rows; neighbours are copied at once."""
    breaks = np.flatnonzero(np.diff(positions) != 1) + 1
    stretches = np.split(positions, breaks)
    return b"".join(
        text[starts[stretch[0]] : ends[stretch[-1]]] for stretch in stretches
    )


def _append(name: str, head: bytes, text: bytes, folder: Path) -> None:
    path = folder / name
    with path.open("ab") as file:
        file.write(text if file.tell() else head + text)


def _write(name: str, rows: pa.Table, folder: Path) -> None:
    pa_parquet.write_table(rows, folder / name)
