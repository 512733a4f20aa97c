"""Whole rows of CSV and TSV text, apart from those whose quotes are malformed.

In text that follows RFC 4180 every quote opens a value, closes it, or is one of two
within it. So the quotes alone tell which line ends end a row, and a quote that has
something else beside it is found without looking at any other byte. A malformed row is
its first line: what follows is read as rows again, since a stray quote says nothing of
how far it goes.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipelines.logs.bad_rows import quote_value
from pipelines.logs.text_style import TextStyle

UNDESCRIBED = "undescribed"
"""Kind of a row with bytes whose meaning nobody has told."""

_NEWLINE, _RETURN = b"\n\r"
_EXCERPT_BYTES = 30
_NAMES = {b'"': "quote", b"\\": "backslash", b",": "comma", b"\t": "tab"}
_NOTHING = np.zeros(0, np.int64)


@dataclass(frozen=True)
class MalformedRow:
    """A row that is left out.

    Args:
        rows_before: How many rows of the same text come before it.
        kind: What is wrong, in a word or two.
        column: The column it is found in, from 0.
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
        text: Those that are well-formed, each with its end.
        malformed: The others.
    """

    text: bytes
    malformed: tuple[MalformedRow, ...] = ()


class RowTooLongError(Exception):
    """A row has more bytes than a chunk may have."""


def whole_rows(
    pieces: Iterable[bytes], style: TextStyle, max_bytes: int, blank_is_row: bool
) -> Iterator[Rows]:
    """The rows of a text that comes in pieces.

    Args:
        pieces: The text, cut anywhere.
        style: How it is written.
        max_bytes: Bytes of a row at most.
        blank_is_row: Whether a blank line counts as a row.

    Raises:
        RowTooLongError: If a row has no end within `max_bytes`.
    """
    rest = b""
    for piece in pieces:
        splitter = _Splitter(rest + piece, style, max_bytes, blank_is_row)
        rows, rest = splitter.split()
        if len(rest) > max_bytes:
            raise RowTooLongError
        if rows.text or rows.malformed:
            yield rows
    if rest:
        text = rest if rest.endswith(style.line_end) else rest + style.line_end
        yield _Splitter(text, style, max_bytes, blank_is_row, is_last=True).split()[0]


@dataclass(frozen=True)
class _Fault:
    position: int
    kind: str
    problem: str


class _Splitter:
    """Splits one text, which begins with a row."""

    def __init__(
        self,
        text: bytes,
        style: TextStyle,
        max_bytes: int,
        blank_is_row: bool,
        is_last: bool = False,
    ) -> None:
        self._text, self._style, self._max_bytes = text, style, max_bytes
        self._blank_is_row, self._is_last = blank_is_row, is_last

    def split(self) -> tuple[Rows, bytes]:
        """The rows that end in the text, and what follows them."""
        text, style = self._text, self._style
        marks = [style.quote, style.escape, *map(bytes, zip(style.refused))]
        if not any(each in text for each in marks if each) and not self._has_strays():
            end = text.rfind(style.line_end) + 1
            return Rows(text[:end]), text[end:]
        return self._split_carefully()

    def _has_strays(self) -> bool:
        """Whether there are line ends of another kind than those that end rows."""
        if self._style.line_end == b"\r":
            return b"\n" in self._text
        returns = self._text.count(b"\r")
        return returns > 0 and returns != self._text.count(b"\r\n")

    def _split_carefully(self) -> tuple[Rows, bytes]:
        start, rows_before = 0, 0
        good: list[bytes] = []
        malformed: list[MalformedRow] = []
        while fault := self._fault_after(start):
            row = self._row_start(start, fault.position)
            end = self._text.find(self._style.line_end, row) + 1
            if not end:
                break  # the rest of its line is still to come
            good.append(self._text[start:row])
            rows_before += self._count_rows(start, row)
            separator = self._style.separator[0]
            column = len(self._outside(row, fault.position, separator))
            malformed.append(
                MalformedRow(rows_before, fault.kind, column, fault.problem)
            )
            start = end
        else:
            row = self._row_start(start, len(self._text))
        if start < row:
            good.append(self._text[start:row])
        return Rows(b"".join(good), tuple(malformed)), self._text[max(row, start) :]

    @cached_property
    def _codes(self) -> np.ndarray:
        return np.frombuffer(self._text, np.uint8)

    @cached_property
    def _is_escaped(self) -> np.ndarray | None:
        """Which bytes have lost their meaning to an escape before them."""
        escape = self._style.escape
        if escape is None or escape not in self._text:
            return None
        places = np.flatnonzero(self._codes == escape[0])
        is_first = np.diff(places, prepend=-2) != 1
        starts = np.maximum.accumulate(np.where(is_first, np.arange(len(places)), 0))
        active = places[(np.arange(len(places)) - starts) % 2 == 0]
        is_escaped = np.zeros(len(self._text) + 1, bool)
        is_escaped[active + 1] = True
        if self._style.line_end == b"\n":  # both bytes of a line end are escaped
            returns = active[active + 2 < len(self._text)]
            returns = returns[self._codes[returns + 1] == _RETURN]
            is_escaped[returns[self._codes[returns + 2] == _NEWLINE] + 2] = True
        return is_escaped

    def _meant(self, places: np.ndarray) -> np.ndarray:
        """Those of some places whose bytes are not escaped."""
        if self._is_escaped is None:
            return places
        return places[~self._is_escaped[places]]

    @cached_property
    def _quotes(self) -> np.ndarray:
        if self._style.quote is None:
            return _NOTHING
        return self._meant(np.flatnonzero(self._codes == self._style.quote[0]))

    @cached_property
    def _strays(self) -> np.ndarray:
        """Bytes that no row may have outside of quotes."""
        found = [np.flatnonzero(self._codes == each) for each in self._style.refused]
        if self._style.line_end == b"\r":
            found.append(np.flatnonzero(self._codes == _NEWLINE))
        else:
            returns = np.flatnonzero(self._codes == _RETURN)
            following = self._codes[np.minimum(returns + 1, len(self._codes) - 1)]
            is_last = returns + 1 == len(self._codes)  # its newline may be to come
            found.append(returns[(following != _NEWLINE) & ~is_last])
        return self._meant(np.sort(np.concatenate(found)))

    def _quotes_from(self, start: int) -> np.ndarray:
        return self._quotes[np.searchsorted(self._quotes, start) :]

    def _fault_after(self, start: int) -> _Fault | None:
        """What is wrong first with the rows that begin at `start`."""
        quotes = self._quotes_from(start)
        number = _first(
            lambda low, high: self._is_wrong(quotes, low, high, start), len(quotes)
        )
        end = len(self._text) if number is None else int(quotes[number])
        stray = self._stray(start, end, quotes)
        if stray is not None:
            return self._of_stray(stray)
        if number is not None:
            return self._of_quote(quotes, number)
        row = self._row_start(start, len(self._text))
        if len(quotes) % 2 and (self._is_last or end - row > self._max_bytes):
            problem = "has a quote that is never closed"
            if not self._is_last:
                problem = f"has a quote that is not closed in {self._max_bytes:,} bytes"
            return _Fault(int(quotes[-1]), "open quote", problem)
        if self._is_last and row < end:
            return _Fault(end - 1, "open escape", "ends in an escape")
        return None

    def _is_wrong(
        self, quotes: np.ndarray, low: int, high: int, start: int
    ) -> np.ndarray:
        """Which quotes stand where they neither open nor close a value."""
        places, codes, style = quotes[low:high], self._codes, self._style
        separator, line_end = style.separator[0], style.line_end[0]
        is_opening = np.arange(low, high) % 2 == 0
        before = codes[np.maximum(places - 1, 0)]
        begins = (before == separator) | (before == line_end)
        if self._is_escaped is not None:
            begins &= ~self._is_escaped[np.maximum(places - 1, 0)]
        beside = (
            np.diff(quotes[max(low - 1, 0) : high], prepend=-2)[-len(places) :] == 1
        )
        opens = begins | (places == start) | beside
        last = len(codes) - 1
        after = codes[np.minimum(places + 1, last)]
        closes = (after == separator) | (after == line_end) | (places == last)
        if line_end == _NEWLINE:
            following = codes[np.minimum(places + 2, last)]
            ends = (following == _NEWLINE) | (places + 2 > last)
            closes |= (after == _RETURN) & ends
        following_quotes = quotes[low + 1 : high + 1]
        doubled = np.zeros(len(places), bool)
        doubled[: len(following_quotes)] = (
            following_quotes == places[: len(following_quotes)] + 1
        )
        return np.where(is_opening, ~opens, ~(closes | doubled))

    def _stray(self, start: int, end: int, quotes: np.ndarray) -> int | None:
        """The first stray byte outside of quotes from `start` up to `end`."""
        low, high = np.searchsorted(self._strays, [start, end])
        strays = self._strays[low:high]
        number = _first(
            lambda low, high: np.searchsorted(quotes, strays[low:high]) % 2 == 0,
            len(strays),
        )
        return None if number is None else int(strays[number])

    def _of_stray(self, place: int) -> _Fault:
        found = self._text[place : place + 1]
        if found in (b"\r", b"\n"):
            name = "carriage return" if found == b"\r" else "line feed"
            end = "line feeds" if found == b"\r" else "carriage returns"
            problem = f"has a {name} where rows end in {end}"
            return _Fault(place, "stray line end", problem)
        return _Fault(place, UNDESCRIBED, f"has a {_NAMES[found]} in it")

    def _of_quote(self, quotes: np.ndarray, number: int) -> _Fault:
        place = int(quotes[number])
        if number % 2:
            value = quote_value(self._text[quotes[number - 1] : place + _EXCERPT_BYTES])
            kind = "text behind a quote"
            return _Fault(place, kind, f"has text behind its closing quote: {value}")
        low = max(place - _EXCERPT_BYTES, 0)
        value = quote_value(self._text[low : place + _EXCERPT_BYTES // 3])
        problem = f"has a quote in it and does not begin with one: {value}"
        return _Fault(place, "quote in a value", problem)

    def _row_start(self, start: int, position: int) -> int:
        """Where the row that holds a position starts, of those from `start` on."""
        quotes = self._quotes_from(start)
        number, high = int(np.searchsorted(quotes, position)), position
        if number % 2:  # within quotes: look before them
            number -= 1
            high = int(quotes[number])
        while True:
            low = int(quotes[number - 1]) + 1 if number else start
            end = self._last_line_end(low, high)
            if end or not number:
                return end or start
            number -= 2
            high = int(quotes[number])

    def _last_line_end(self, low: int, high: int) -> int:
        line_end = self._style.line_end
        place = self._text.rfind(line_end, low, high)
        if self._is_escaped is not None:
            while place >= 0 and self._is_escaped[place]:
                place = self._text.rfind(line_end, low, place)
        return place + 1

    def _count_rows(self, start: int, end: int) -> int:
        """How many rows there are between two places where rows start."""
        line_end = self._style.line_end[0]
        ends = self._outside(start, end, line_end)
        if self._blank_is_row or not len(ends):
            return len(ends)
        starts = np.concatenate([[start], ends[:-1] + 1])
        lengths = ends - starts
        is_return = self._codes[starts] == _RETURN
        is_blank = (lengths == 0) | ((lengths == 1) & is_return)
        return int(len(ends) - is_blank.sum())

    def _outside(self, start: int, end: int, code: int) -> np.ndarray:
        """Where a byte stands from a row's start on, neither quoted nor escaped."""
        places = self._meant(np.flatnonzero(self._codes[start:end] == code) + start)
        quotes = self._quotes_from(start)
        return places[np.searchsorted(quotes, places) % 2 == 0]


def _first(flags: Callable[[int, int], np.ndarray], count: int) -> int | None:
    """The first number below `count` with a flag, looked for in growing ranges."""
    low, size = 0, 64
    while low < count:
        high = min(low + size, count)
        found = flags(low, high)
        if found.any():
            return low + int(found.argmax())
        low, size = high, size * 4
    return None
