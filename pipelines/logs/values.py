"""Read the values of a log: label, numbers, categories, bags, days and times."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from pipelines.logs.bad_rows import quote_value
from pipelines.logs.columns import Columns, DaysBy
from pipelines.logs.label_values import expected_labels, read_labels
from pipelines.logs.missing_values import explain_number, without_spellings
from pipelines.logs.times import (
    FIRST_YEAR,
    LAST_YEAR,
    UNITS_PER_SECOND,
    explain_day,
    explain_time,
    plausible_days,
    plausible_seconds,
)
from pipelines.logs.value_texts import (
    floats_as_integers,
    list_texts,
    lists_as_integers,
    texts,
)

TIME_KEY = "/time"
"""Name of the column with a row's day number or second; no feature has this name."""

KEYS_PER_DAY = {"day": 1, "time": 86_400}

_TEXT = (pl.String, pl.Binary)


@dataclass(frozen=True)
class ColumnReader:
    """Reads the values of a column.

    Args:
        noun: The name of a bad value in a count, such as `bad number`.
        expected: The expected values, in words.
        read: Converts the file's values to typed ones; null where bad.
        accepts: Returns whether a type of a typed file can be read.
        may_be_missing: Whether a value may be missing.
        missing: Spellings of a missing value.
        is_number: Whether a spelling that is a number is compared by its value.
        explain: Returns further words on a bad value, to end the message with.
    """

    noun: str
    expected: str
    read: Callable[[pl.Series], pl.Series]
    accepts: Callable[[pl.DataType], bool]
    may_be_missing: bool = True
    missing: tuple[str, ...] = ()
    is_number: bool = False
    explain: Callable[[Any], str] = lambda value: ""

    def convert(self, values: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Return the typed values, and which of them are bad."""
        without_missing = without_spellings(values, self.missing, self.is_number)
        typed = self.read(without_missing)
        if not self.may_be_missing:
            return typed, typed.is_null()
        return typed, typed.is_null() & without_missing.is_not_null()

    def problem(self, name: str, value: Any) -> str:
        """Return in words what is wrong with a bad value of a column."""
        problem = f"{name!r} is {quote_value(value)}, expected {self.expected}"
        return f"{problem}{self.explain(value)}"


def column_readers(
    columns: Columns, labelled: bool
) -> dict[str, tuple[str, ColumnReader]]:
    """Return the readers of the columns of a log.

    Args:
        columns: The columns of the log.
        labelled: Whether to read what only training needs: label and day or time.

    Returns:
        For each column of the typed rows, the name of the file's column and its reader.
    """
    readers: dict[str, tuple[str, ColumnReader]] = {}
    missing = columns.missing
    if labelled:
        readers[columns.label] = (columns.label, _label_reader(columns))
    for name in columns.number_columns:
        readers[name] = (name, _number_reader(missing.get(name, ())))
    for name in columns.text_columns:
        reader = ColumnReader(
            "bad category",
            _expected_category(columns),
            partial(categories, as_integers=columns.floats_as_integers),
            accepts=_is_category,
            missing=missing.get(name, ()),
        )
        readers[name] = (name, reader)
    for name, separator in zip(columns.multi_hot, columns.separators, strict=True):
        reader = _bag_reader(
            separator, missing.get(name, ()), columns.floats_as_integers
        )
        readers[name] = (name, reader)
    if labelled and columns.days_by is not None:
        name = columns.days_by.name
        readers[TIME_KEY] = (name, _key_reader(columns.days_by, missing.get(name, ())))
    return readers


def _expected_category(columns: Columns) -> str:
    if columns.format != "parquet":
        return "text in UTF-8"
    return "text in UTF-8, or a whole number that its type holds exactly"


def _label_reader(columns: Columns) -> ColumnReader:
    return ColumnReader(
        "bad label",
        expected_labels(columns),
        lambda values: read_labels(values, columns),
        accepts=_is_number if columns.positive is None else _is_label,
        may_be_missing=False,
        missing=columns.missing.get(columns.label, ()),
    )


def _number_reader(missing: tuple[str, ...]) -> ColumnReader:
    return ColumnReader(
        "bad number",
        "a finite number or nothing",
        numbers,
        accepts=_is_number,
        missing=missing,
        is_number=True,
        explain=explain_number,
    )


def _bag_reader(
    separator: str | None, missing: tuple[str, ...], as_integers: bool
) -> ColumnReader:
    def read(values: pl.Series) -> pl.Series:
        lists = bags(values, separator, missing)
        return lists_as_integers(lists) if as_integers else lists

    def accepts(dtype: pl.DataType) -> bool:
        if isinstance(dtype, pl.List):
            return separator is None and _is_category(dtype.inner)
        is_text = separator is not None and isinstance(dtype, _TEXT)
        return is_text or isinstance(dtype, pl.Null)

    expected = "a list of categories" if separator is None else "text in UTF-8"
    return ColumnReader(
        "bad bag of categories", expected, read, accepts, missing=missing
    )


def _key_reader(days_by: DaysBy, missing: tuple[str, ...]) -> ColumnReader:
    unit = days_by.unit
    years = f"of a year from {FIRST_YEAR} to {LAST_YEAR}"
    if days_by.kind == "day":
        return ColumnReader(
            "bad day",
            f"a whole number or a date such as 2024-05-31, {years}",
            plausible_days,
            accepts=_is_time,
            may_be_missing=False,
            missing=missing,
            explain=explain_day,
        )
    return ColumnReader(
        "bad time",
        f"a time such as 2024-05-31T12:00:00, or a number of {unit} (the unit in "
        f"split) since 1970, {years}",
        lambda values: plausible_seconds(values, UNITS_PER_SECOND[unit]),
        accepts=_is_time,
        may_be_missing=False,
        missing=missing,
        explain=lambda value: explain_time(value, unit),
    )


def _is_category(dtype: Any) -> bool:
    types = (*_TEXT, pl.Categorical, pl.Enum, pl.Boolean, pl.Date, pl.Null)
    return dtype.is_numeric() or isinstance(dtype, types)


def _is_number(dtype: Any) -> bool:
    return dtype.is_numeric() or isinstance(dtype, (*_TEXT, pl.Boolean, pl.Null))


def _is_label(dtype: Any) -> bool:
    return _is_number(dtype) or _is_category(dtype)


def _is_time(dtype: Any) -> bool:
    types = (*_TEXT, pl.Date, pl.Datetime, pl.Null)
    return dtype.is_numeric() or isinstance(dtype, types)


def numbers(values: pl.Series) -> pl.Series:
    """Return values as Float64; null for all but numbers that float32 can hold."""
    if not values.dtype.is_numeric():
        values = texts(values) if values.dtype == pl.Binary else values
    number = values.cast(pl.Float64, strict=False)
    fits = number.cast(pl.Float32, strict=False).is_finite()
    return number if fits.all() else number.set(~fits, None)


def categories(values: pl.Series, as_integers: bool) -> pl.Series:
    """Return values as text; null where a value is no text.

    Args:
        values: The file's values.
        as_integers: Whether `7.0` becomes `7`.
    """
    text = texts(values)
    return floats_as_integers(text) if as_integers else text


def bags(
    values: pl.Series, separator: str | None, missing: tuple[str, ...] = ()
) -> pl.Series:
    """Return bags as lists of text without empty ones; a missing bag is an empty list.

    Args:
        values: Lists, or texts.
        separator: The separator of the values in a text.
        missing: Spellings of a missing value; these are left out, as empty values are.

    Returns:
        The lists; null for a value that is no list of categories.

    Example:

    >>> bags(pl.Series(["b|a||b", None, "NA|a"]), "|", ("NA",)).to_list()
    [['b', 'a', 'b'], [], ['a']]
    """
    if isinstance(values.dtype, pl.List):
        lists = list_texts(values)
    else:
        lists = texts(values).str.split(separator or "")
    element = pl.element()
    is_value = element.str.len_bytes() > 0
    if missing:
        is_value &= ~element.is_in(list(missing))
    lists = lists.list.eval(element.filter(is_value))
    empty_list = pl.Series([[]], dtype=pl.List(pl.String))
    return pl.select(
        pl.when(values.is_null()).then(empty_list).otherwise(lists)
    ).to_series()
