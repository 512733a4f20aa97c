"""Convert values of a column to text, the same from typed files and from text."""

import re
from typing import Any

import polars as pl

from tfdlrm.base.whole_floats import WHOLE_FLOAT

_EXACT_BITS: dict[Any, int] = {pl.Float32: 24, pl.Float64: 53}
"""For each float type, the bits of the integers that it holds exactly."""

_FLOAT_16_BITS = 11


def texts(values: pl.Series) -> pl.Series:
    """Return values as text; null where a value is no text.

    Bytes that are not UTF-8 are no text. Nor are floats that are not integers; see
    `whole_number_texts`. A decimal is written without the zeros at its end.

    Example:

    >>> texts(pl.Series([b"a", b"\\xff"])).to_list(), texts(pl.Series([7.0])).to_list()
    (['a', None], ['7'])
    """
    if values.dtype.is_float():
        return whole_number_texts(values)
    if isinstance(values.dtype, pl.Decimal):
        return _decimal_texts(values)
    try:
        return values.cast(pl.String)
    except pl.exceptions.ComputeError:
        return pl.Series(values.name, [_decode(value) for value in values], pl.String)


def whole_number_texts(values: pl.Series) -> pl.Series:
    """Return floats as the integers that they stand for; null for other floats.

    pandas writes integers as floats if one is missing. Above 2^53 (2^24 in float32)
    floats skip integers, so that different integers may have become equal.

    Example:

    >>> whole_number_texts(pl.Series([7.0, -0.0, 7.5, 1e16, None])).to_list()
    ['7', '0', None, None, None]
    """
    limit = 2.0 ** _EXACT_BITS.get(values.dtype.base_type(), _FLOAT_16_BITS)
    numbers = values.cast(pl.Float64)
    is_whole = (numbers == numbers.round()) & (numbers.abs() < limit)
    return numbers.set(~is_whole, None).cast(pl.Int64).cast(pl.String)


def floats_as_integers(text: pl.Series) -> pl.Series:
    """Return text in which integers written as floats, such as `7.0`, become `7`.

    pandas writes the integers of a column as floats if one is missing.

    Example:

    >>> floats_as_integers(pl.Series(["7.0", "-0.0", "7.50", "v7.0", None])).to_list()
    ['7', '0', '7.50', 'v7.0', None]
    """
    if not text.str.ends_with(".0").any():
        return text
    return text.str.replace(WHOLE_FLOAT, "$1$2")


def lists_as_integers(lists: pl.Series) -> pl.Series:
    """Return lists of text as `floats_as_integers` does their values."""
    if not lists.explode().str.ends_with(".0").any():
        return lists
    return lists.list.eval(pl.element().str.replace(WHOLE_FLOAT, "$1$2"))


def with_floats(spellings: tuple[str, ...]) -> tuple[str, ...]:
    """Return spellings, and those of integers a second time as floats.

    Example:

    >>> with_floats(("NA", "-1"))
    ('NA', '-1', '-1.0')
    """
    floats = [f"{text}.0" for text in spellings if re.fullmatch("-?[0-9]+", text)]
    return tuple(dict.fromkeys([*spellings, *floats]))


def list_texts(values: pl.Series) -> pl.Series:
    """Return lists as lists of text; null for a list with a value that is no text.

    Example:

    >>> lists = pl.Series([[7.0, None], [], None, [0.5]])
    >>> list_texts(lists).to_list()
    [['7', None], [], None, None]
    """
    inner = values.dtype.inner  # type: ignore[attr-defined]
    if not (inner.is_float() or isinstance(inner, (pl.Decimal, pl.Binary))):
        return values.cast(pl.List(pl.String))
    is_filled = values.list.len().fill_null(0) > 0
    filled = values.filter(is_filled)
    flat = filled.explode()
    row = pl.int_range(len(filled), eager=True).repeat_by(filled.list.len()).explode()
    frame = pl.DataFrame({"row": row, "value": flat, "text": texts(flat)})
    is_bad = (pl.col("text").is_null() & pl.col("value").is_not_null()).any()
    lists = frame.group_by("row", maintain_order=True).agg(
        pl.when(~is_bad).then(pl.col("text").implode()).first()
    )["text"]
    nothing = pl.Series([[]], dtype=pl.List(pl.String))
    lists_or_nothing = pl.concat([lists, nothing])
    index = (is_filled.cast(pl.Int64).cum_sum() - 1).zip_with(
        is_filled, pl.repeat(len(lists), len(values), eager=True)
    )
    return lists_or_nothing.gather(index.set(values.is_null(), None))


def _decimal_texts(values: pl.Series) -> pl.Series:
    text = values.cast(pl.String)
    if not values.dtype.scale:  # type: ignore[attr-defined]
        return text
    return text.str.strip_chars_end("0").str.strip_chars_end(".")


def _decode(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return None
