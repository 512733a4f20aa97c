"""How the rows of CSV and TSV text are written."""

import re
from dataclasses import dataclass, replace
from functools import cached_property


@dataclass(frozen=True)
class TextStyle:
    """How the rows of a text are written, each of these one byte.

    Args:
        separator: What stands between columns.
        quote: What a value with separators, quotes or line ends is written in, or
            `None` where there is no such thing.
        escape: What takes its meaning from a separator, quote, line end or escape that
            follows it, or `None`.
        line_end: What ends a row: a line feed, a carriage return before it being part
            of the end, or a carriage return alone.
        refused: Quotes, backslashes, commas or tabs whose meaning nobody has told: a
            row with one is malformed.
    """

    separator: bytes
    quote: bytes | None = None
    escape: bytes | None = None
    line_end: bytes = b"\n"
    refused: bytes = b""

    @cached_property
    def _tokens(self) -> re.Pattern[bytes]:
        parts = [rb"\r\n|\r|\n"]
        if self.quote:
            quote, escape = re.escape(self.quote), re.escape(self.escape or b"")
            inside = b"[^%s%s]" % (quote, escape)
            if escape:
                inside = b"(?:%s|%s.)" % (inside, escape)
            parts.insert(0, quote + inside + b"*+" + quote)
        if self.escape:
            parts.insert(0, re.escape(self.escape) + b"(?:\r\n|.)")
        return re.compile(b"|".join(parts), re.DOTALL)

    def first_line(self, text: bytes) -> tuple[int, int, bytes] | None:
        """Where the first row that is not blank starts and ends, and by what it ends.

        Args:
            text: The beginning of a text.

        Returns:
            `None` where that row does not end within `text`.
        """
        start = len(text) - len(text.lstrip(b"\r\n"))
        for token in self._tokens.finditer(text, start):
            end = token[0]
            is_end = end in (b"\n", b"\r\n")
            if end == b"\r":  # of which a line feed may be to come
                is_end = token.end() < len(text) or self.line_end == b"\r"
            if is_end:
                return start, token.end(), end[-1:]
        return None

    def with_line_end_of(self, text: bytes) -> "TextStyle":
        """The same style with the line end of a text's first row."""
        first = self.first_line(text)
        return replace(self, line_end=first[2] if first else b"\n")
