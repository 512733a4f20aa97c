"""What the values of a log mean: label, numbers, categories, bags, days and times."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from pipelines.logs.bad_rows import quote_value
from pipelines.logs.columns import Columns, DaysBy
from pipelines.logs.label_values import expected_labels, read_labels
from pipelines.logs.missing_values import explain_missing, without_spellings
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
"""Column with the day number or the second of a row; the name of no feature."""

KEYS_PER_DAY = {"day": 1, "time": 86_400}

_TEXT = (pl.String, pl.Binary)


@dataclass(frozen=True)
class Kind:
    """How the values of a column are read.

    Args:
        noun: What a bad value is called in a count, such as `bad number`.
        expected: What was expected, in words.
        read: From values as the file has them to typed ones; null where bad.
        takes: Whether it can read values of a type, where the file has types.
        may_be_missing: Whether an empty field is fine.
        missing: Spellings of a missing value.
        is_number: Whether a spelling that is a number is compared by its value.
        explain: More words on a bad value, to follow those on what was expected.
    """

    noun: str
    expected: str
    read: Callable[[pl.Series], pl.Series]
    takes: Callable[[pl.DataType], bool]
    may_be_missing: bool = True
    missing: tuple[str, ...] = ()
    is_number: bool = False
    explain: Callable[[Any], str] = lambda value: ""

    def typed(self, values: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Return values as typed ones, and which of them are bad."""
        given = without_spellings(values, self.missing, self.is_number)
        typed = self.read(given)
        if not self.may_be_missing:
            return typed, typed.is_null()
        return typed, typed.is_null() & given.is_not_null()

    def problem(self, name: str, value: Any) -> str:
        """Say what is wrong with a bad value of a column."""
        found = f"{name!r} is {quote_value(value)}, expected {self.expected}"
        return f"{found}{self.explain(value)}"


def kinds(columns: Columns, labelled: bool) -> dict[str, tuple[str, Kind]]:
    """The columns to read, each with the one of the file that it comes from.

    Args:
        columns: The columns of the log.
        labelled: Whether to read what only training needs: label and day or time.

    Returns:
        For each name in the typed rows, the name in the file and how it is read.
    """
    found: dict[str, tuple[str, Kind]] = {}
    missing = columns.missing
    if labelled:
        found[columns.label] = (columns.label, _label_kind(columns))
    for name in columns.dense_features:
        found[name] = (name, _number_kind(missing.get(name, ())))
    for name in columns.single_hot:
        kind = Kind(
            "bad category",
            _expected_category(columns),
            partial(categories, as_integers=columns.floats_as_integers),
            takes=_is_category,
            missing=missing.get(name, ()),
        )
        found[name] = (name, kind)
    for name, separator in zip(columns.multi_hot, columns.separators, strict=True):
        kind = _bag_kind(separator, missing.get(name, ()), columns.floats_as_integers)
        found[name] = (name, kind)
    if labelled and columns.days_by is not None:
        name = columns.days_by.name
        found[TIME_KEY] = (name, _key_kind(columns.days_by, missing.get(name, ())))
    return found


def _expected_category(columns: Columns) -> str:
    if columns.format != "parquet":
        return "text in UTF-8"
    return "text in UTF-8, or a whole number that its type holds exactly"


def _label_kind(columns: Columns) -> Kind:
    return Kind(
        "bad label",
        expected_labels(columns),
        lambda values: read_labels(values, columns),
        takes=_is_number if columns.positive is None else _is_label,
        may_be_missing=False,
        missing=columns.missing.get(columns.label, ()),
    )


def _number_kind(missing: tuple[str, ...]) -> Kind:
    return Kind(
        "bad number",
        "a finite number or nothing",
        numbers,
        takes=_is_number,
        missing=missing,
        is_number=True,
        explain=explain_missing,
    )


def _bag_kind(
    separator: str | None, missing: tuple[str, ...], as_integers: bool
) -> Kind:
    def read(values: pl.Series) -> pl.Series:
        lists = bags(values, separator, missing)
        return lists_as_integers(lists) if as_integers else lists

    def takes(dtype: pl.DataType) -> bool:
        if isinstance(dtype, pl.List):
            return separator is None and _is_category(dtype.inner)
        is_text = separator is not None and isinstance(dtype, _TEXT)
        return is_text or isinstance(dtype, pl.Null)

    expected = "a list of categories" if separator is None else "text in UTF-8"
    return Kind("bad bag of categories", expected, read, takes, missing=missing)


def _key_kind(days_by: DaysBy, missing: tuple[str, ...]) -> Kind:
    unit = days_by.unit
    years = f"of a year from {FIRST_YEAR} to {LAST_YEAR}"
    if days_by.kind == "day":
        return Kind(
            "bad day",
            f"a whole number or a date such as 2024-05-31, {years}",
            plausible_days,
            takes=_is_time,
            may_be_missing=False,
            missing=missing,
            explain=explain_day,
        )
    return Kind(
        "bad time",
        f"a time such as 2024-05-31T12:00:00, or a number of {unit} (the unit in "
        f"split) since 1970, {years}",
        lambda values: plausible_seconds(values, UNITS_PER_SECOND[unit]),
        takes=_is_time,
        may_be_missing=False,
        missing=missing,
        explain=lambda value: explain_time(value, unit),
    )


def _is_category(dtype: Any) -> bool:
    kinds = (*_TEXT, pl.Categorical, pl.Enum, pl.Boolean, pl.Date, pl.Null)
    return dtype.is_numeric() or isinstance(dtype, kinds)


def _is_number(dtype: Any) -> bool:
    return dtype.is_numeric() or isinstance(dtype, (*_TEXT, pl.Boolean, pl.Null))


def _is_label(dtype: Any) -> bool:
    return _is_number(dtype) or _is_category(dtype)


def _is_time(dtype: Any) -> bool:
    kinds = (*_TEXT, pl.Date, pl.Datetime, pl.Null)
    return dtype.is_numeric() or isinstance(dtype, kinds)


def numbers(values: pl.Series) -> pl.Series:
    """Values as Float64; what is no number that float32 can hold becomes null."""
    if not values.dtype.is_numeric():
        values = texts(values) if values.dtype == pl.Binary else values
    number = values.cast(pl.Float64, strict=False)
    fits = number.cast(pl.Float32, strict=False).is_finite()
    return number if fits.all() else number.set(~fits, None)


def categories(values: pl.Series, as_integers: bool) -> pl.Series:
    """Values as text; null where they are none.

    Args:
        values: The values as the file has them.
        as_integers: Whether `7.0` is written as `7`.
    """
    text = texts(values)
    return floats_as_integers(text) if as_integers else text


def bags(
    values: pl.Series, separator: str | None, missing: tuple[str, ...] = ()
) -> pl.Series:
    """Values as lists of text without empty ones; a missing value is an empty list.

    Args:
        values: Lists, or texts.
        separator: What stands between values in a text.
        missing: Spellings of a missing value, which is left out as empty ones are.

    Returns:
        The lists; null where one is no list of categories.

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
    empty = pl.Series([[]], dtype=pl.List(pl.String))
    return pl.select(pl.when(values.is_null()).then(empty).otherwise(lists)).to_series()
