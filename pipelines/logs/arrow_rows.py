"""Parse rows of text whose quotes are well formed, by Arrow."""

import re
from collections.abc import Sequence
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from pipelines.logs.text_style import TextStyle


def parse_rows(
    text: bytes, style: TextStyle, names: Sequence[str], sources: Sequence[str]
) -> tuple[pl.DataFrame, list[tuple[int, int]]]:
    """Parse whole rows; a blank line is a row only where there is a single column.

    Args:
        text: The rows, each with its line end.
        style: How the rows are written.
        names: Names of all columns.
        sources: Names of the columns to read.

    Returns:
        The columns as bytes, null where empty; and for each row that has another number
        of columns, the row's number, from 1, and its number of columns.
    """
    bad_widths: list[tuple[int, int]] = []

    def leave_out(row: Any) -> str:
        bad_widths.append((row.number, row.actual_columns))
        return "skip"

    blank_is_row = len(names) == 1
    if not (text if blank_is_row else text.strip(b"\r\n")):
        return pl.DataFrame(schema=dict.fromkeys(sources, pl.Binary)), bad_widths
    is_utf_8 = _is_utf_8(text)
    # Arrow decodes a row of the wrong width to report it.
    decodable = text if is_utf_8 else text.decode("latin-1").encode()
    table = pa_csv.read_csv(
        pa.BufferReader(_escape_for_arrow(decodable, style)),
        pa_csv.ReadOptions(
            block_size=2 * len(decodable) + 1,
            use_threads=False,  # with threads Arrow does not number bad rows
            column_names=names,
        ),
        _parse_options(style, leave_out, not blank_is_row),
        pa_csv.ConvertOptions(
            include_columns=sources,
            column_types=dict.fromkeys(sources, pa.binary()),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    frame = pl.DataFrame(table)
    frame.columns = list(sources)  # Polars gives a name to a column without one
    if not is_utf_8:
        frame = frame.select(map(_stored_bytes, frame.iter_columns()))
    return frame, bad_widths


def first_values(row: bytes, style: TextStyle) -> list[str]:
    """Return the values of the first row of a text."""
    max_columns = row.count(style.separator) + 1
    table = pa_csv.read_csv(
        pa.BufferReader(_escape_for_arrow(row, style)),
        pa_csv.ReadOptions(
            block_size=2 * len(row) + 1,
            use_threads=False,
            autogenerate_column_names=True,
        ),
        _parse_options(style, None, True),
        pa_csv.ConvertOptions(
            column_types={f"f{number}": pa.binary() for number in range(max_columns)},
            strings_can_be_null=False,
        ),
    )
    return [column[0].as_py().decode(errors="replace") for column in table.columns]


def _parse_options(style: TextStyle, leave_out: Any, ignore_blank: bool) -> Any:
    return pa_csv.ParseOptions(
        delimiter=style.separator.decode(),
        quote_char=style.quote.decode() if style.quote else False,
        escape_char=style.escape.decode() if style.escape else False,
        newlines_in_values=True,
        ignore_empty_lines=ignore_blank,
        invalid_row_handler=leave_out,
    )


def _is_utf_8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _stored_bytes(values: pl.Series) -> pl.Series:
    """Return the bytes of the file for values that were decoded as Latin-1."""
    stored = [value and value.decode().encode("latin-1") for value in values]
    return pl.Series(values.name, stored, pl.Binary)


def _escape_for_arrow(text: bytes, style: TextStyle) -> bytes:
    r"""Return the text with escapes as Arrow reads them.

    To Arrow an escape takes the meaning from whatever byte follows. Here an escape
    before an ordinary byte is a part of the value, so it is escaped itself.

    Example:

    >>> _escape_for_arrow(rb"C:\data,\N,a\,b", TextStyle(b",", escape=b"\\"))
    b'C:\\\\data,\\\\N,a\\,b'
    """
    escape = style.escape
    if escape is None or escape not in text:
        return text
    specials = {style.separator, b'"', escape, b"\r", b"\n"}

    def rewrite(match: re.Match[bytes]) -> bytes:
        if match[1] == b"\r\n":
            return escape + b"\r" + escape + b"\n"
        return match[0] if match[1] in specials else escape + match[0]

    pattern = re.escape(escape) + rb"(\r\n|.)"
    return re.sub(pattern, rewrite, text, flags=re.DOTALL)
