"""Find the first malformed row of a text by its quotes, escapes and line ends.

A quote that has something else next to it than a separator, a line end or a quote is
found without looking at any other byte.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipelines.logs.bad_rows import quote_value
from pipelines.logs.text_marks import NEWLINE, RETURN, TextMarks

UNDESCRIBED = "undescribed"
"""Fault of a row with bytes whose meaning nothing describes."""

_EXCERPT_BYTES = 30
_NAMES = {b'"': "quote", b"\\": "backslash", b",": "comma", b"\t": "tab"}


@dataclass(frozen=True)
class Fault:
    """The fault of a malformed row.

    Args:
        position: The position of the byte at fault.
        kind: The sort of fault, in a word or two.
        problem: What is wrong with the column.
    """

    position: int
    kind: str
    problem: str


class FaultFinder:
    """Find faults of one text.

    Args:
        marks: The text and the positions of its marks.
        max_bytes: Largest size of a row.
        is_end: Whether no text follows.
    """

    def __init__(self, marks: TextMarks, max_bytes: int, is_end: bool) -> None:
        self._marks, self._max_bytes, self._is_end = marks, max_bytes, is_end

    def first_fault(self, start: int) -> Fault | None:
        """Return the first fault of the rows that begin at `start`, if there is one."""
        quotes, length = self._marks.quotes_from(start), len(self._marks.text)
        number = _first_flag(
            lambda low, high: self._are_bad(quotes, low, high, start), len(quotes)
        )
        end = length if number is None else int(quotes[number])
        stray = self._first_stray(start, end, quotes)
        if stray is not None:
            return self._stray_fault(stray)
        if number is not None:
            return self._quote_fault(quotes, number)
        row = self._marks.row_start(start, length)
        if len(quotes) % 2 and (self._is_end or end - row > self._max_bytes):
            problem = "has a quote that is never closed"
            if not self._is_end:
                problem = f"has a quote that is not closed in {self._max_bytes:,} bytes"
            return Fault(int(quotes[-1]), "open quote", problem)
        if self._is_end and row < end:
            return Fault(end - 1, "open escape", "ends in an escape")
        return None

    def _are_bad(
        self, quotes: np.ndarray, low: int, high: int, start: int
    ) -> np.ndarray:
        """Return which quotes, from `low` to `high`, neither open nor close a value."""
        positions, codes = quotes[low:high], self._marks.codes
        style = self._marks.style
        separator, line_end = style.separator[0], style.line_end[0]
        is_opening = np.arange(low, high) % 2 == 0
        # Large arrays that are used once have no name: kept alive, they cost time.
        previous_code = codes[np.maximum(positions - 1, 0)]
        begins = (previous_code == separator) | (previous_code == line_end)
        if self._marks.is_escaped is not None:
            begins &= ~self._marks.is_escaped[np.maximum(positions - 1, 0)]
        follows_quote = (
            np.diff(quotes[max(low - 1, 0) : high], prepend=-2)[-len(positions) :] == 1
        )
        opens = begins | (positions == start) | follows_quote
        last = len(codes) - 1
        next_code = codes[np.minimum(positions + 1, last)]
        closes = (next_code == separator) | (next_code == line_end)
        closes |= positions == last
        if line_end == NEWLINE:
            second_code = codes[np.minimum(positions + 2, last)]
            ends = (second_code == NEWLINE) | (positions + 2 > last)
            closes |= (next_code == RETURN) & ends
        next_quotes = quotes[low + 1 : high + 1]
        is_doubled = np.zeros(len(positions), bool)
        is_doubled[: len(next_quotes)] = (
            next_quotes == positions[: len(next_quotes)] + 1
        )
        return np.where(is_opening, ~opens, ~(closes | is_doubled))

    def _first_stray(self, start: int, end: int, quotes: np.ndarray) -> int | None:
        """Return the first stray byte outside of quotes from `start` up to `end`."""
        low, high = np.searchsorted(self._marks.strays, [start, end])
        strays = self._marks.strays[low:high]
        number = _first_flag(
            lambda low, high: np.searchsorted(quotes, strays[low:high]) % 2 == 0,
            len(strays),
        )
        return None if number is None else int(strays[number])

    def _stray_fault(self, position: int) -> Fault:
        stray = self._marks.text[position : position + 1]
        if stray in (b"\r", b"\n"):
            name = "carriage return" if stray == b"\r" else "line feed"
            end = "line feeds" if stray == b"\r" else "carriage returns"
            problem = f"has a {name} where rows end in {end}"
            return Fault(position, "stray line end", problem)
        return Fault(position, UNDESCRIBED, f"has a {_NAMES[stray]} in it")

    def _quote_fault(self, quotes: np.ndarray, number: int) -> Fault:
        position, text = int(quotes[number]), self._marks.text
        if number % 2:
            excerpt = text[quotes[number - 1] : position + _EXCERPT_BYTES]
            return Fault(
                position,
                "text behind a quote",
                f"has text behind its closing quote: {quote_value(excerpt)}",
            )
        low = max(position - _EXCERPT_BYTES, 0)
        excerpt = text[low : position + _EXCERPT_BYTES // 3]
        problem = (
            f"has a quote in it and does not begin with one: {quote_value(excerpt)}"
        )
        return Fault(position, "quote in a value", problem)


def _first_flag(flags: Callable[[int, int], np.ndarray], count: int) -> int | None:
    """Return the first number below `count` with a flag, from growing ranges."""
    low, size = 0, 64
    while low < count:
        high = min(low + size, count)
        range_flags = flags(low, high)
        if range_flags.any():
            return low + int(range_flags.argmax())
        low, size = high, size * 4
    return None
