"""Rows of text that are known to be well-formed, parsed by Arrow."""

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
    """Parse whole rows; a blank line is one where there is a single column.

    Args:
        text: The rows, each with its end.
        style: How they are written.
        names: All columns.
        sources: Those to read.

    Returns:
        The columns as bytes, null where empty; and of each row that has another number
        of columns its number from 1 and its columns.
    """
    wrong: list[tuple[int, int]] = []

    def leave_out(row: Any) -> str:
        wrong.append((row.number, row.actual_columns))
        return "skip"

    blank_is_row = len(names) == 1
    if not (text if blank_is_row else text.strip(b"\r\n")):
        return pl.DataFrame(schema=dict.fromkeys(sources, pl.Binary)), wrong
    is_utf_8 = _is_utf_8(text)
    # Arrow decodes a row of the wrong width to report it.
    known = text if is_utf_8 else text.decode("latin-1").encode()
    table = pa_csv.read_csv(
        pa.BufferReader(_arrows_escapes(known, style)),
        pa_csv.ReadOptions(
            block_size=2 * len(known) + 1,
            use_threads=False,  # otherwise rows have no number
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
    if not is_utf_8:
        frame = frame.select(map(_as_stored, frame.iter_columns()))
    return frame, wrong


def first_values(row: bytes, style: TextStyle) -> list[str]:
    """Return the values of the first row of a text."""
    most = row.count(style.separator) + 1
    table = pa_csv.read_csv(
        pa.BufferReader(_arrows_escapes(row, style)),
        pa_csv.ReadOptions(
            block_size=2 * len(row) + 1,
            use_threads=False,
            autogenerate_column_names=True,
        ),
        _parse_options(style, None, True),
        pa_csv.ConvertOptions(
            column_types={f"f{number}": pa.binary() for number in range(most)},
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


def _as_stored(values: pl.Series) -> pl.Series:
    """The bytes of a file that were taken for Latin-1."""
    stored = [each and each.decode().encode("latin-1") for each in values]
    return pl.Series(values.name, stored, pl.Binary)


def _arrows_escapes(text: bytes, style: TextStyle) -> bytes:
    r"""The same text as Arrow takes it, to which an escape is one before any byte.

    Example:

    >>> _arrows_escapes(rb"C:\data,\N,a\,b", TextStyle(b",", escape=b"\\"))
    b'C:\\\\data,\\\\N,a\\,b'
    """
    escape = style.escape
    if escape is None or escape not in text:
        return text
    specials = {style.separator, b'"', escape, b"\r", b"\n"}

    def rewrite(found: re.Match[bytes]) -> bytes:
        if found[1] == b"\r\n":
            return escape + b"\r" + escape + b"\n"
        return found[0] if found[1] in specials else escape + found[0]

    pattern = re.escape(escape) + rb"(\r\n|.)"
    return re.sub(pattern, rewrite, text, flags=re.DOTALL)
