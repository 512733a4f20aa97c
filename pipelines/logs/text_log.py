"""Read logs in CSV and TSV: plain, gzip or zstd, with quotes as in RFC 4180 or none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import polars as pl

from pipelines.logs.arrow_rows import parse_rows
from pipelines.logs.bad_rows import EmptyLogError
from pipelines.logs.columns import Columns
from pipelines.logs.log_file import BadLogRow, LogFile
from pipelines.logs.text_file import TextFile
from pipelines.logs.text_head import read_head
from pipelines.logs.text_rows import MalformedRow, Rows
from tfdlrm.base.errors import InputError
from tfdlrm.base.parallel import map_in_order, read_ahead

CHUNK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class _Chunk:
    """Parsed rows.

    Args:
        frame: The columns, as bytes.
        numbers: The number of each row, counted from 1 at the chunk's first row.
        bad_rows: The malformed rows, numbered in the same way.
        num_rows: Number of all rows, malformed ones and a head line too.
    """

    frame: pl.DataFrame
    numbers: np.ndarray
    bad_rows: list[BadLogRow]
    num_rows: int


class TextLog(LogFile):
    """A CSV or TSV file; see `LogFile`.

    A blank line is no row, except in a file of one column: there it is a row whose
    value is missing.

    Args:
        chunk_bytes: Bytes of text that are parsed at once; a row may have no more.
        is_described: Whether the columns say what quotes and escapes mean. If not, a
            row with one of them is malformed, unless the head line is in quotes.

    Attributes:
        style: How the rows are written.
    """

    def __init__(
        self,
        path: Path,
        columns: Columns,
        on_bad_row: Literal["stop", "skip"] = "stop",
        labelled: bool = True,
        chunk_bytes: int = CHUNK_BYTES,
        is_described: bool = True,
        kept: Sequence[str] = (),
    ) -> None:
        super().__init__(path, columns, on_bad_row, labelled, kept)
        self._file = TextFile(self.path, columns, chunk_bytes)
        self._has_head = columns.names is None
        head = read_head(self._file, is_described)
        self.style = head.style
        if columns.names is None:
            self._names = head.first_row
        else:
            self._names = self._present_names([*columns.names], len(head.first_row))
        self._check_names(self._names)
        if head.is_alone:
            raise EmptyLogError(
                f"{path} has a head line and no rows below it, expected rows of a log"
            )

    def _present_names(self, names: list[str], width: int) -> list[str]:
        """Return which of `names` a file without a head line has, by its width."""
        if width != len(names):
            names = [name for name in names if name not in self._partitions]
        if self.labelled or width == len(names):
            return names
        # Rows to score may come without what only training needs.
        label, days_by = self.columns.label, self.columns.days_by
        may_be_absent = [{label}]
        if days_by is not None:
            may_be_absent += [{days_by.name}, {label, days_by.name}]
        fitting = [
            absent for absent in may_be_absent if len(names) - len(absent) == width
        ]
        if len(fitting) > 1:
            either = " or ".join(repr(name) for absent in fitting for name in absent)
            raise InputError(
                f"{self.path} has {width} columns: either {either} of "
                f"{', '.join(names)} is missing, and nothing says which; leave out "
                "both or none"
            )
        absent = fitting[0] if fitting else set()
        return [name for name in names if name not in absent]

    def _chunks(self) -> Iterator[tuple[pl.DataFrame, np.ndarray, list[BadLogRow]]]:
        rows_before = 0
        with self._file.open() as (text, stored):
            texts = self._texts(text, stored)
            for chunk in map_in_order(self._parse, read_ahead(texts)):
                bad_rows = [
                    replace(row, line=row.line + rows_before) for row in chunk.bad_rows
                ]
                yield chunk.frame, chunk.numbers + rows_before, bad_rows
                rows_before += chunk.num_rows

    def _texts(self, text: BinaryIO, stored: BinaryIO) -> Iterator[tuple[Rows, bool]]:
        """Yield rows without the head line, and whether it was the first of them."""
        pieces = self._file.pieces(text)
        awaits_head = self._has_head
        for rows in self._file.rows(pieces, self.style, len(self._names) == 1):
            self.bytes_read = stored.tell()
            head = self.style.first_line(rows.text) if awaits_head else None
            if head:
                awaits_head = False
                _, end, _ = head
                yield replace(rows, text=rows.text[end:]), True
            elif not awaits_head:
                yield rows, False
        self.bytes_read = stored.tell()

    def _parse(self, rows_and_head: tuple[Rows, bool]) -> _Chunk:
        rows, has_head = rows_and_head
        frame, bad_widths = parse_rows(
            rows.text, self.style, self._names, self._in_file
        )
        return self._number(frame, bad_widths, rows.malformed, int(has_head))

    def _number(
        self,
        frame: pl.DataFrame,
        bad_widths: list[tuple[int, int]],
        malformed: tuple[MalformedRow, ...],
        num_head: int,
    ) -> _Chunk:
        """Number rows; the head line and malformed rows count too.

        Args:
            frame: The rows with the right number of columns.
            bad_widths: Number among the parsed rows and width of each other row.
            malformed: Rows that were not parsed.
            num_head: Number of head lines before them, 0 or 1.
        """
        rows_before = np.array([row.rows_before for row in malformed], np.int64)

        def numbers_of(parsed: np.ndarray) -> np.ndarray:
            numbers = parsed + num_head
            return numbers + np.searchsorted(rows_before, numbers - 1, side="right")

        num_parsed = frame.height + len(bad_widths)
        bad_numbers = numbers_of(
            np.array([number for number, _ in bad_widths], np.int64)
        )
        bad_rows = [
            self._file.row_of_wrong_width(int(number), width, len(self._names))
            for number, (_, width) in zip(bad_numbers, bad_widths, strict=True)
        ]
        bad_rows += [
            self._file.bad_row(row.rows_before + position, row, self._names)
            for position, row in enumerate(malformed, start=1)
        ]
        numbers = np.setdiff1d(
            numbers_of(np.arange(1, num_parsed + 1)), bad_numbers, assume_unique=True
        )
        return _Chunk(frame, numbers, bad_rows, num_head + num_parsed + len(malformed))
