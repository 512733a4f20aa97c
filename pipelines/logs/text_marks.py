"""Find the bytes of CSV and TSV text that mean something: quotes, strays, row starts.

In text that follows RFC 4180 every quote opens a value, closes it, or is one of two
within it. So the number of quotes before a byte says whether it is within a value.
"""

from functools import cached_property

import numpy as np

from pipelines.logs.text_style import TextStyle

NEWLINE, RETURN = b"\n\r"
_NO_POSITIONS = np.zeros(0, np.int64)


class TextMarks:
    """Positions of the bytes of a text that mean something.

    Args:
        text: A text that begins with a row.
        style: How the rows are written.

    Attributes:
        codes: The bytes of the text, uint8.
    """

    def __init__(self, text: bytes, style: TextStyle) -> None:
        self.text, self.style = text, style

    @cached_property
    def codes(self) -> np.ndarray:
        return np.frombuffer(self.text, np.uint8)

    @cached_property
    def is_escaped(self) -> np.ndarray | None:
        """Flags of the bytes that an escape takes the meaning from; `None` if none."""
        escape = self.style.escape
        if escape is None or escape not in self.text:
            return None
        positions = np.flatnonzero(self.codes == escape[0])
        indices = np.arange(len(positions))
        is_first = np.diff(positions, prepend=-2) != 1
        starts = np.maximum.accumulate(np.where(is_first, indices, 0))
        active = positions[(indices - starts) % 2 == 0]
        is_escaped = np.zeros(len(self.text) + 1, bool)
        is_escaped[active + 1] = True
        if self.style.line_end == b"\n":  # both bytes of a line end are escaped
            returns = active[active + 2 < len(self.text)]
            returns = returns[self.codes[returns + 1] == RETURN]
            is_escaped[returns[self.codes[returns + 2] == NEWLINE] + 2] = True
        return is_escaped

    def _without_escaped(self, positions: np.ndarray) -> np.ndarray:
        if self.is_escaped is None:
            return positions
        return positions[~self.is_escaped[positions]]

    @cached_property
    def _quotes(self) -> np.ndarray:
        if self.style.quote is None:
            return _NO_POSITIONS
        return self._without_escaped(np.flatnonzero(self.codes == self.style.quote[0]))

    def quotes_from(self, start: int) -> np.ndarray:
        """Return the positions of the quotes from `start` on."""
        return self._quotes[np.searchsorted(self._quotes, start) :]

    @cached_property
    def strays(self) -> np.ndarray:
        """Positions of bytes that no row may have outside of quotes."""
        positions = [np.flatnonzero(self.codes == code) for code in self.style.refused]
        if self.style.line_end == b"\r":
            positions.append(np.flatnonzero(self.codes == NEWLINE))
        else:
            returns = np.flatnonzero(self.codes == RETURN)
            next_codes = self.codes[np.minimum(returns + 1, len(self.codes) - 1)]
            is_last = returns + 1 == len(self.codes)  # its newline may be to come
            positions.append(returns[(next_codes != NEWLINE) & ~is_last])
        return self._without_escaped(np.sort(np.concatenate(positions)))

    def row_start(self, start: int, position: int) -> int:
        """Return where the row starts that holds `position`.

        Args:
            start: The start of that row or of a row before it.
            position: A position in the text.
        """
        quotes = self.quotes_from(start)
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
        """Return the end of the last line end between two positions, or 0."""
        line_end = self.style.line_end
        position = self.text.rfind(line_end, low, high)
        if self.is_escaped is not None:
            while position >= 0 and self.is_escaped[position]:
                position = self.text.rfind(line_end, low, position)
        return position + 1

    def outside(self, start: int, end: int, code: int) -> np.ndarray:
        """Return where a byte stands that is neither quoted nor escaped.

        Args:
            start: The start of a row, from which to look.
            end: The position before which to look.
            code: The byte.
        """
        positions = np.flatnonzero(self.codes[start:end] == code) + start
        positions = self._without_escaped(positions)
        quotes = self.quotes_from(start)
        return positions[np.searchsorted(quotes, positions) % 2 == 0]
