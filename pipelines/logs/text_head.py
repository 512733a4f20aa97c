"""Find out from the beginning of a CSV or TSV file how its rows are written."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipelines.logs.arrow_rows import first_values
from pipelines.logs.bad_rows import EmptyLogError
from pipelines.logs.log_file import MissingColumnError
from pipelines.logs.text_file import TextFile
from pipelines.logs.text_style import TextStyle

_REFUSED = b'"\\'
_QUOTED = re.compile(r'".*"', re.DOTALL)


@dataclass(frozen=True)
class Head:
    """What the beginning of a file says.

    Args:
        style: How the rows are written.
        first_row: The values of the first row.
        is_alone: Whether the first row is a head line without any row below it.
    """

    style: TextStyle
    first_row: list[str]
    is_alone: bool = False


def read_head(file: TextFile, is_described: bool) -> Head:
    """Read the beginning of a file.

    Args:
        file: The file.
        is_described: Whether the columns say what quotes and escapes mean.

    Raises:
        EmptyLogError: If there are no rows.
        MissingColumnError: If the head line is malformed.
    """
    columns = file.columns
    has_head = columns.names is None
    style = TextStyle(
        separator=columns.separator.encode(),
        quote=columns.quote_mark,
        escape=columns.escape.encode() if columns.escape else None,
    )
    if not is_described:
        style = replace(style, quote=None, refused=_REFUSED)
    with file.open() as (text, _):
        beginning = b""
        for piece in file.pieces(text):
            beginning += piece
            if style.first_line(beginning) or len(beginning) > file.chunk_bytes:
                break
        style = style.with_line_end_of(beginning)
        if has_head and (columns.quote is None or not is_described):
            style = _quoted_as_head(style, beginning)
        pieces = file.pieces(text, beginning)
        first_row, is_alone = _first_row(file, pieces, style, has_head)
    if not is_described and len(first_row) == 1:
        # Then even the separator is unknown.
        style = replace(style, refused=style.refused + b",\t")
    return Head(style, first_row, is_alone)


def _first_row(
    file: TextFile, pieces: Iterator[bytes], style: TextStyle, has_head: bool
) -> tuple[list[str], bool]:
    """Return the first row that is not blank, and whether it is a head line alone."""
    row: list[str] | None = None
    has_malformed = False
    for rows in file.rows(pieces, style, blank_is_row=False):
        text = rows.text
        has_malformed |= bool(rows.malformed)
        if row is None:
            malformed = rows.malformed[0] if rows.malformed else None
            if has_head and malformed and not malformed.rows_before:
                raise MissingColumnError(str(file.bad_row(1, malformed, [])))
            first_line = style.first_line(text)
            if first_line is None:
                continue
            start, end, _ = first_line
            row = first_values(text[start:end], style)
            text = text[end:]
        has_row = text if len(row) == 1 else text.strip(b"\r\n")
        if not has_head or rows.malformed or has_row:
            return row, False
    if has_malformed:  # and no other rows, so that their width is unknown
        return list(file.columns.names or ()), False
    if row is None:
        raise EmptyLogError(f"{file.path} is empty, expected rows of a log")
    return row, True


def _quoted_as_head(style: TextStyle, beginning: bytes) -> TextStyle:
    """Return the style, with quotes if names in the head line are in quotes."""
    first_line = style.first_line(beginning)
    line = beginning[first_line[0] : first_line[1]] if first_line else beginning
    fields = line.decode(errors="replace").strip().split(style.separator.decode())
    if style.quote is None and any(map(_QUOTED.fullmatch, fields)):
        return replace(style, quote=b'"', refused=style.refused.replace(b'"', b""))
    return style
