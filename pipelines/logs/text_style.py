"""The style in which the rows of CSV and TSV text are written."""

import re
from dataclasses import dataclass, replace
from functools import cached_property


@dataclass(frozen=True)
class TextStyle:
    """How the rows of a text are written; each mark is one byte.

    Args:
        separator: The mark between columns.
        quote: The mark around a value with separators, quotes or line ends; `None` if
            there are no quotes.
        escape: The mark that takes the meaning from a separator, quote, line end or
            escape after it; `None` if there are no escapes.
        line_end: The mark that ends a row: a line feed, with or without a carriage
            return before it, or a carriage return alone.
        refused: Quotes, backslashes, commas or tabs whose meaning nothing describes: a
            row with one of them is malformed.
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
        """Return start, end and line end of the first row that is not blank.

        Args:
            text: The beginning of a text.

        Returns:
            `None` if that row does not end within `text`.
        """
        start = len(text) - len(text.lstrip(b"\r\n"))
        for token in self._tokens.finditer(text, start):
            mark = token[0]
            is_end = mark in (b"\n", b"\r\n")
            if mark == b"\r":  # its line feed may be to come
                is_end = token.end() < len(text) or self.line_end == b"\r"
            if is_end:
                return start, token.end(), mark[-1:]
        return None

    def with_line_end_of(self, text: bytes) -> "TextStyle":
        """Return the same style with the line end of a text's first row."""
        first_line = self.first_line(text)
        return replace(self, line_end=first_line[2] if first_line else b"\n")
