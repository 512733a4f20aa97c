"""Split CSV and TSV text into whole rows, and leave out malformed ones.

A malformed row is its first line: what follows is read as rows again, since a stray
quote does not say how far it goes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from pipelines.logs.text_faults import FaultFinder
from pipelines.logs.text_marks import RETURN, TextMarks
from pipelines.logs.text_style import TextStyle


@dataclass(frozen=True)
class MalformedRow:
    """A row that is left out.

    Args:
        rows_before: Number of good rows of the same text before it.
        kind: The sort of fault, in a word or two.
        column: Number of the column with the fault, from 0.
        problem: What is wrong with the column.
    """

    rows_before: int
    kind: str
    column: int
    problem: str


@dataclass(frozen=True)
class Rows:
    """Consecutive rows.

    Args:
        text: The well-formed rows, each with its line end.
        malformed: The other rows.
    """

    text: bytes
    malformed: tuple[MalformedRow, ...] = ()


class RowTooLongError(Exception):
    """A row has more bytes than a chunk may have."""


def whole_rows(
    pieces: Iterable[bytes], style: TextStyle, max_bytes: int, blank_is_row: bool
) -> Iterator[Rows]:
    """Yield the rows of a text that comes in pieces.

    Args:
        pieces: The text, cut anywhere.
        style: How the rows are written.
        max_bytes: Largest size of a row.
        blank_is_row: Whether a blank line counts as a row.

    Raises:
        RowTooLongError: If a row has no end within `max_bytes`.
    """
    row_start = b""
    for piece in pieces:
        splitter = _Splitter(row_start + piece, style, max_bytes, blank_is_row)
        rows, row_start = splitter.split()
        if len(row_start) > max_bytes:
            raise RowTooLongError
        if rows.text or rows.malformed:
            yield rows
    if row_start:
        text = row_start
        if not text.endswith(style.line_end):
            text += style.line_end
        yield _Splitter(text, style, max_bytes, blank_is_row, is_end=True).split()[0]


class _Splitter:
    """Split one text, which begins with a row."""

    def __init__(
        self,
        text: bytes,
        style: TextStyle,
        max_bytes: int,
        blank_is_row: bool,
        is_end: bool = False,
    ) -> None:
        self._text, self._style = text, style
        self._blank_is_row = blank_is_row
        self._marks = TextMarks(text, style)
        self._faults = FaultFinder(self._marks, max_bytes, is_end)

    def split(self) -> tuple[Rows, bytes]:
        """Return the rows that end in the text, and the start of the next row."""
        text, style = self._text, self._style
        marks = [style.quote, style.escape, *map(bytes, zip(style.refused))]
        if any(mark in text for mark in marks if mark) or self._has_strays():
            return self._split_carefully()
        end = text.rfind(style.line_end) + 1
        return Rows(text[:end]), text[end:]

    def _has_strays(self) -> bool:
        """Return whether there are other line ends than those that end rows."""
        if self._style.line_end == b"\r":
            return b"\n" in self._text
        num_returns = self._text.count(b"\r")
        return num_returns > 0 and num_returns != self._text.count(b"\r\n")

    def _split_carefully(self) -> tuple[Rows, bytes]:
        start, rows_before = 0, 0
        good_rows: list[bytes] = []
        malformed: list[MalformedRow] = []
        separator = self._style.separator[0]
        while fault := self._faults.first_fault(start):
            row = self._marks.row_start(start, fault.position)
            end = self._text.find(self._style.line_end, row) + 1
            if not end:
                break  # the rest of its line is still to come
            good_rows.append(self._text[start:row])
            rows_before += self._count_rows(start, row)
            column = len(self._marks.outside(row, fault.position, separator))
            malformed.append(
                MalformedRow(rows_before, fault.kind, column, fault.problem)
            )
            start = end
        else:
            row = self._marks.row_start(start, len(self._text))
        if start < row:
            good_rows.append(self._text[start:row])
        rows = Rows(b"".join(good_rows), tuple(malformed))
        return rows, self._text[max(row, start) :]

    def _count_rows(self, start: int, end: int) -> int:
        """Return the number of rows between the starts of two rows."""
        ends = self._marks.outside(start, end, self._style.line_end[0])
        if self._blank_is_row or not len(ends):
            return len(ends)
        starts = np.concatenate([[start], ends[:-1] + 1])
        lengths = ends - starts
        is_return = self._marks.codes[starts] == RETURN
        is_blank = (lengths == 0) | ((lengths == 1) & is_return)
        return int(len(ends) - is_blank.sum())
