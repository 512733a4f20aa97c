"""Logs in CSV and TSV: plain, gzip or zstd, quoted as RFC 4180 says, or not at all."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal, NoReturn

import numpy as np
import polars as pl
import pyarrow as pa

from pipelines.logs.arrow_rows import first_values, parse_rows
from pipelines.logs.bad_rows import EmptyLogError
from pipelines.logs.columns import Columns
from pipelines.logs.log_file import BadLogRow, LogFile, MissingColumnError
from pipelines.logs.stored_text import open_text
from pipelines.logs.text_rows import (
    UNDESCRIBED,
    MalformedRow,
    Rows,
    RowTooLongError,
    whole_rows,
)
from pipelines.logs.text_style import TextStyle
from tfdlrm.base.errors import InputError
from tfdlrm.base.parallel import map_in_order, read_ahead

CHUNK_BYTES = 16 * 2**20

_REFUSED = b'"\\'
_QUOTED = re.compile(r'".*"', re.DOTALL)
_HINT = (
    "expected quotes as in RFC 4180: a value that begins with a quote ends with one, "
    "and quotes in it are doubled; if they are part of values, or escaped, say so by "
    "`quote: none` or `escape` in the description of the columns"
)
_UNDESCRIBED_HINT = (
    "and nothing says what that means: give --columns, the description of the columns "
    "that the model's data set was prepared with"
)


@dataclass(frozen=True)
class _Head:
    """What the beginning of a file tells.

    Args:
        style: How its rows are written.
        first_row: The values of its first row.
        is_alone: Whether it is a head line with nothing below it.
    """

    style: TextStyle
    first_row: list[str]
    is_alone: bool = False


@dataclass(frozen=True)
class _Chunk:
    """Parsed rows.

    Args:
        frame: The columns, as bytes.
        numbers: The number of each row, counted from 1 at the chunk's first.
        bad_rows: The rows that are malformed, numbered alike.
        num_rows: How many rows there are in all.
    """

    frame: pl.DataFrame
    numbers: np.ndarray
    bad_rows: list[BadLogRow]
    num_rows: int


class TextLog(LogFile):
    """A CSV or TSV file; see `LogFile`.

    A blank line is no row, except in a file of one column, where it is a row whose
    value is missing.

    Args:
        chunk_bytes: Bytes of text that are parsed at once; a row may have no more.
        is_described: Whether the columns say what quotes and escapes mean. Otherwise a
            row with one of them is malformed, unless the head line is in quotes.
    """

    def __init__(
        self,
        path: Path,
        columns: Columns,
        on_bad_row: Literal["stop", "skip"] = "stop",
        labelled: bool = True,
        chunk_bytes: int = CHUNK_BYTES,
        is_described: bool = True,
    ) -> None:
        super().__init__(path, columns, on_bad_row, labelled)
        self._chunk_bytes = chunk_bytes
        self._is_described = is_described
        self._has_head = columns.names is None
        head = self._look_at_head()
        self._style = head.style
        if columns.names is None:
            self._names = head.first_row
        else:
            self._names = self._names_there([*columns.names], len(head.first_row))
        self._check_names(self._names)
        if head.is_alone:
            raise EmptyLogError(
                f"{path} has a head line and no rows below it, expected rows of a log"
            )

    def _names_there(self, names: list[str], width: int) -> list[str]:
        """Those of all `names` that a file has, which has no head line to tell."""
        if width != len(names):
            names = [name for name in names if name not in self._partitions]
        if self.labelled or width == len(names):
            return names
        # Rows to score may come without what only training needs.
        label, days_by = self.columns.label, self.columns.days_by
        absent = [{label}]
        if days_by is not None:
            absent += [{days_by.name}, {label, days_by.name}]
        fitting = [each for each in absent if len(names) - len(each) == width]
        if len(fitting) > 1:
            either = " or ".join(repr(name) for each in fitting for name in each)
            raise InputError(
                f"{self.path} has {width} columns: either {either} of "
                f"{', '.join(names)} is missing, and nothing says which; leave out "
                "both or none"
            )
        missing = fitting[0] if fitting else set()
        return [name for name in names if name not in missing]

    def _look_at_head(self) -> _Head:
        """Find out how the rows are written, and what the first one holds.

        Raises:
            EmptyLogError: If there are no rows.
        """
        columns = self.columns
        style = TextStyle(
            separator=columns.separator.encode(),
            quote=columns.quote_mark,
            escape=columns.escape.encode() if columns.escape else None,
        )
        if not self._is_described:
            style = replace(style, quote=None, refused=_REFUSED)
        with self._opened() as (text, _):
            beginning = b""
            while piece := text.read(self._chunk_bytes):
                beginning += piece
                if style.first_line(beginning) or len(beginning) > self._chunk_bytes:
                    break
            style = style.with_line_end_of(beginning)
            if self._has_head and (columns.quote is None or not self._is_described):
                style = _quoted_as_head(style, beginning)
            pieces = _and_then(beginning, text, self._chunk_bytes)
            first_row, is_alone = self._first_row(pieces, style)
        if not self._is_described and len(first_row) == 1:
            # Not even the separator is known then.
            style = replace(style, refused=style.refused + b",\t")
        return _Head(style, first_row, is_alone)

    def _first_row(
        self, pieces: Iterator[bytes], style: TextStyle
    ) -> tuple[list[str], bool]:
        """The first row that is not blank, and whether it is a head line alone."""
        row: list[str] | None = None
        has_malformed = False
        for rows in self._whole_rows(pieces, style, blank_is_row=False):
            text = rows.text
            has_malformed |= bool(rows.malformed)
            if row is None:
                malformed = rows.malformed[0] if rows.malformed else None
                if self._has_head and malformed and not malformed.rows_before:
                    raise MissingColumnError(str(self._bad_row(1, malformed, [])))
                first = style.first_line(text)
                if first is None:
                    continue
                row = first_values(text[first[0] : first[1]], style)
                text = text[first[1] :]
            has_row = text if len(row) == 1 else text.strip(b"\r\n")
            if not self._has_head or rows.malformed or has_row:
                return row, False
        if has_malformed:  # and nothing else, so that their width is not known
            return list(self.columns.names or ()), False
        if row is None:
            raise EmptyLogError(f"{self.path} is empty, expected rows of a log")
        return row, True

    def _whole_rows(
        self, pieces: Iterator[bytes], style: TextStyle, blank_is_row: bool
    ) -> Iterator[Rows]:
        try:
            yield from whole_rows(pieces, style, self._chunk_bytes, blank_is_row)
        except RowTooLongError:
            self._refuse_text(f"it has a row of more than {self._chunk_bytes:,} bytes")

    def _chunks(self) -> Iterator[tuple[pl.DataFrame, np.ndarray, list[BadLogRow]]]:
        rows_before = 0
        with self._opened() as (text, stored):
            texts = self._texts(text, stored)
            for chunk in map_in_order(self._parse, read_ahead(texts)):
                bad_rows = [
                    replace(row, line=row.line + rows_before) for row in chunk.bad_rows
                ]
                yield chunk.frame, chunk.numbers + rows_before, bad_rows
                rows_before += chunk.num_rows

    def _texts(self, text: BinaryIO, stored: BinaryIO) -> Iterator[tuple[Rows, bool]]:
        """Rows without the head line, and whether that was the first of them."""
        pieces = _and_then(b"", text, self._chunk_bytes)
        awaits_head = self._has_head
        for rows in self._whole_rows(pieces, self._style, len(self._names) == 1):
            self.bytes_read = stored.tell()
            first = self._style.first_line(rows.text) if awaits_head else None
            if first:
                awaits_head = False
                yield replace(rows, text=rows.text[first[1] :]), True
            elif not awaits_head:
                yield rows, False
        self.bytes_read = stored.tell()

    def _parse(self, part: tuple[Rows, bool]) -> _Chunk:
        rows, has_head = part
        frame, wrong = parse_rows(rows.text, self._style, self._names, self._in_file)
        return self._numbered(frame, wrong, rows.malformed, int(has_head))

    def _numbered(
        self,
        frame: pl.DataFrame,
        wrong: list[tuple[int, int]],
        malformed: tuple[MalformedRow, ...],
        num_head: int,
    ) -> _Chunk:
        """Rows with their numbers, the head line and malformed ones counted too."""
        before = np.array([row.rows_before for row in malformed], np.int64)

        def numbers_of(parsed: np.ndarray) -> np.ndarray:
            places = parsed + num_head
            return places + np.searchsorted(before, places - 1, side="right")

        parsed = np.arange(1, frame.height + len(wrong) + 1)
        wrong_numbers = numbers_of(np.array([number for number, _ in wrong], np.int64))
        bad_rows = [
            self._wrong_width(int(number), width)
            for number, (_, width) in zip(wrong_numbers, wrong, strict=True)
        ]
        for done, row in enumerate(malformed, start=1):
            bad_rows.append(self._bad_row(row.rows_before + done, row, self._names))
        numbers = np.setdiff1d(numbers_of(parsed), wrong_numbers, assume_unique=True)
        num_rows = num_head + len(parsed) + len(malformed)
        return _Chunk(frame, numbers, bad_rows, num_rows)

    def _wrong_width(self, number: int, width: int) -> BadLogRow:
        found = "1 column" if width == 1 else f"{width} columns"
        problem = (
            f"has {found}, expected {len(self._names)} separated by "
            f"{self.columns.separator!r}"
        )
        return BadLogRow(self.path, number, "wrong number of columns", problem)

    def _bad_row(self, number: int, row: MalformedRow, names: list[str]) -> BadLogRow:
        name = repr(names[row.column]) if row.column < len(names) else row.column + 1
        problem = f"column {name} {row.problem}"
        if "quote" in row.kind:
            problem += f"; {_HINT}"
        if row.kind == UNDESCRIBED:
            problem += f", {_UNDESCRIBED_HINT}"
        return BadLogRow(self.path, number, row.kind, problem)

    @contextmanager
    def _opened(self) -> Iterator[tuple[BinaryIO, BinaryIO]]:
        """The unpacked text and the stored file, errors turned into one line."""
        try:
            with self._reading(), self.path.open("rb") as stored:
                yield open_text(stored, self.path), stored
        except pa.ArrowInvalid as error:
            self._refuse_text(" ".join(str(error).split()))

    def _refuse_text(self, what: str) -> NoReturn:
        raise InputError(
            f"{self.path} cannot be read as {self.columns.format}: {what}; expected "
            f"rows separated by {self.columns.separator!r}"
        ) from None


def _and_then(beginning: bytes, text: BinaryIO, size: int) -> Iterator[bytes]:
    """What was read of a text, and then the rest of it in pieces."""
    if beginning:
        yield beginning
    while piece := text.read(size):
        yield piece


def _quoted_as_head(style: TextStyle, beginning: bytes) -> TextStyle:
    """The style, with quotes where the names in a head line are written in them."""
    first = style.first_line(beginning)
    line = beginning[first[0] : first[1]] if first else beginning
    fields = line.decode(errors="replace").strip().split(style.separator.decode())
    if style.quote is None and any(map(_QUOTED.fullmatch, fields)):
        return replace(style, quote=b'"', refused=style.refused.replace(b'"', b""))
    return style
