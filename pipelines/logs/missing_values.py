"""Missing values that a log spells in words, such as `NA`."""

import math
from contextlib import suppress

import polars as pl

from pipelines.logs.value_texts import texts, whole_number_texts

_MISSING_WORDS = (
    *("na", "n/a", "#n/a", "<na>", "nan", "null", "(null)", "none", "nil", "nat"),
    *("\\n", "-", "--", "?", "missing", "unknown"),
)
"""Usual spellings of a missing value, in small letters."""


def without_spellings(
    values: pl.Series, spellings: tuple[str, ...], are_numbers: bool = False
) -> pl.Series:
    """Return `values` with null for each spelling of a missing value.

    Text is compared as it is spelled. If it stands for numbers, their values are
    compared too, as in a typed column: `-1` also matches `-1.0`.
    """
    if not spellings or isinstance(values.dtype, (pl.List, pl.Null)):
        return values
    if values.dtype.is_numeric():
        return _without(values, _is_number_of(values, spellings))
    if values.dtype == pl.Binary:
        is_missing = values.is_in([text.encode() for text in spellings])
    else:
        is_missing = values.cast(pl.String).is_in(list(spellings))
    if are_numbers and _spelled_numbers(spellings):
        number = texts(values).cast(pl.Float64, strict=False)
        is_missing |= number.is_in(_spelled_numbers(spellings)).fill_null(False)
    return _without(values, is_missing)


def _without(values: pl.Series, is_missing: pl.Series) -> pl.Series:
    frame = pl.DataFrame({"values": values, "is_missing": is_missing})
    values_or_null = pl.when(~pl.col("is_missing")).then("values")
    return frame.select(values_or_null.alias(values.name)).to_series()


def _is_number_of(values: pl.Series, spellings: tuple[str, ...]) -> pl.Series:
    """Return which numbers are among those that are spelled."""
    if values.dtype.is_integer():
        integers = pl.Series(list(spellings)).cast(pl.Int64, strict=False)
        spelled_floats = pl.Series(_spelled_numbers(spellings), dtype=pl.Float64)
        integers = integers.append(
            whole_number_texts(spelled_floats).cast(pl.Int64)
        ).drop_nulls()
        return values.is_in(integers.cast(values.dtype, strict=False).drop_nulls())
    floats = _spelled_numbers(spellings)
    if isinstance(values.dtype, pl.Decimal):
        return values.cast(pl.Float64).is_in(floats)
    return values.is_in(pl.Series(floats, dtype=pl.Float64).cast(values.dtype))


def _spelled_numbers(spellings: tuple[str, ...]) -> list[float]:
    """Return the numbers among spellings of a missing value."""
    numbers = pl.Series(list(spellings), dtype=pl.String).cast(pl.Float64, strict=False)
    return numbers.filter(numbers.is_finite()).to_list()


def explain_number(value: object) -> str:
    """Say why a value is no number of a dense column, where that is not plain.

    Example:

    >>> explain_number(b"-1e300")
    '; it is beyond 3.4e38, the largest float32'
    """
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    with suppress(ValueError):
        if 3.4e38 < abs(float(text)) < math.inf:
            return "; it is beyond 3.4e38, the largest float32"
    return explain_missing(value)


def explain_missing(value: object) -> str:
    """Say what to do about a word that usually stands for a missing value.

    Example:

    >>> explain_missing(b"NA")
    '; if it means a missing value, list it as `missing` in the columns file'
    """
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    if text.strip().lower() not in _MISSING_WORDS:
        return ""
    return "; if it means a missing value, list it as `missing` in the columns file"
