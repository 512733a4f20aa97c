"""What the values of a log mean: label, numbers, categories, bags, days and times."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl
from polars.selectors import by_name

from pipelines.columns import Columns, DaysBy

TIME_KEY = "/time"
"""Column with the day number or the second of a row; the name of no feature."""

KEYS_PER_DAY = {"day": 1, "time": 86_400}

_UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}
_MAX_SECONDS = 1e11
"""In the year 5138: a larger number counts something smaller than seconds."""

_TIME_FORMATS = (
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f%z",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%dT%H:%M%z",
)
_TEXT = (pl.String, pl.Binary)
_TRUE, _FALSE = (
    ["1", "true", "True", "TRUE", "1.0"],
    ["0", "false", "False", "FALSE", "0.0"],
)


@dataclass(frozen=True)
class Kind:
    """How the values of a column are read.

    Args:
        noun: What a bad value is called in a count, such as `bad number`.
        expected: What was expected, in words.
        read: From values as the file has them to typed ones; null where bad.
        takes: Whether it can read values of a type, where the file has types.
        may_be_missing: Whether an empty field is fine.
    """

    noun: str
    expected: str
    read: Callable[[pl.Series], pl.Series]
    takes: Callable[[pl.DataType], bool]
    may_be_missing: bool = True

    def is_bad(self, values: pl.Series, typed: pl.Series) -> pl.Series:
        """Which of `values` could not be read as `typed`."""
        if not self.may_be_missing:
            return typed.is_null()
        return typed.is_null() & values.is_not_null()


def kinds(columns: Columns, labelled: bool) -> dict[str, tuple[str, Kind]]:
    """The columns to read, each with the one of the file that it comes from.

    Args:
        columns: The columns of the log.
        labelled: Whether to read what only training needs: label and day or time.

    Returns:
        For each name in the typed rows, the name in the file and how it is read.
    """
    found: dict[str, tuple[str, Kind]] = {}
    if labelled:
        found[columns.label] = (columns.label, _label_kind(columns.positive))
    for name in columns.dense_features:
        kind = Kind(
            "bad number", "a finite number or nothing", numbers, takes=_is_number
        )
        found[name] = (name, kind)
    for name in columns.single_hot:
        kind = Kind("bad category", "text in UTF-8", texts, takes=_is_category)
        found[name] = (name, kind)
    for name, separator in zip(columns.multi_hot, columns.separators, strict=True):
        found[name] = (name, _bag_kind(separator))
    if labelled and columns.days_by is not None:
        found[TIME_KEY] = (columns.days_by.name, _key_kind(columns.days_by))
    return found


def _label_kind(positive: str | None) -> Kind:
    def read(values: pl.Series) -> pl.Series:
        # Polars takes NaN for equal to itself.
        is_whole = (
            values.dtype.is_float()
            and (values.is_finite() & (values == values.round())).all()
        )
        text = texts(values.cast(pl.Int64) if is_whole else values)
        if positive is not None:
            # Where the file has the type, true is spelled in no way of its own.
            one = positive.lower() if values.dtype == pl.Boolean else positive
            return (text == one).cast(pl.UInt8)
        is_one = text.is_in(_TRUE)
        known = pl.select(pl.when(is_one | text.is_in(_FALSE)).then(is_one))
        return known.to_series().cast(pl.UInt8)

    expected = "0 or 1, or true or false" if positive is None else "a value"
    takes = _is_number if positive is None else _is_label
    return Kind("bad label", expected, read, takes=takes, may_be_missing=False)


def _bag_kind(separator: str | None) -> Kind:
    def read(values: pl.Series) -> pl.Series:
        return bags(values, separator)

    def takes(dtype: pl.DataType) -> bool:
        if isinstance(dtype, pl.List):
            return separator is None and _is_category(dtype.inner)
        return separator is not None and isinstance(dtype, _TEXT)

    expected = "a list of categories" if separator is None else "text in UTF-8"
    return Kind("bad bag of categories", expected, read, takes)


def _key_kind(days_by: DaysBy) -> Kind:
    if days_by.kind == "day":
        expected = "a whole number or a date such as 2024-05-31"
        return Kind("bad day", expected, days, takes=_is_time, may_be_missing=False)

    def read(values: pl.Series) -> pl.Series:
        return seconds(values, _UNITS_PER_SECOND[days_by.unit])

    expected = (
        f"a time such as 2024-05-31T12:00:00, or a number of {days_by.unit} (the unit "
        "in split) since 1970"
    )
    return Kind("bad time", expected, read, takes=_is_time, may_be_missing=False)


def _is_category(dtype: Any) -> bool:
    kinds = (*_TEXT, pl.Categorical, pl.Enum, pl.Boolean, pl.Date, pl.Null)
    return dtype.is_integer() or isinstance(dtype, kinds)


def _is_number(dtype: Any) -> bool:
    return dtype.is_numeric() or isinstance(dtype, (*_TEXT, pl.Boolean, pl.Null))


def _is_label(dtype: Any) -> bool:
    return _is_number(dtype) or _is_category(dtype)


def _is_time(dtype: Any) -> bool:
    kinds = (*_TEXT, pl.Date, pl.Datetime, pl.Null)
    return dtype.is_numeric() or isinstance(dtype, kinds)


def texts(values: pl.Series) -> pl.Series:
    """Values as text; what is not UTF-8 becomes null."""
    try:
        return values.cast(pl.String)
    except pl.exceptions.ComputeError:
        return pl.Series(values.name, [_decoded(each) for each in values], pl.String)


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def numbers(values: pl.Series) -> pl.Series:
    """Values as Float64; what is no number that float32 can hold becomes null."""
    if not values.dtype.is_numeric():
        values = texts(values) if values.dtype == pl.Binary else values
    number = values.cast(pl.Float64, strict=False)
    fits = number.cast(pl.Float32, strict=False).is_finite()
    return number if fits.all() else number.set(~fits, None)


def bags(values: pl.Series, separator: str | None) -> pl.Series:
    """Values as lists of text without empty ones; a missing value is an empty list.

    Example:

    >>> bags(pl.Series(["b|a||b", None]), "|").to_list()
    [['b', 'a', 'b'], []]
    """
    if isinstance(values.dtype, pl.List):
        lists = values.cast(pl.List(pl.String))
        missing = values.is_null()
    else:
        text = texts(values)
        lists, missing = text.str.split(separator or ""), values.is_null()
    lists = lists.list.eval(pl.element().filter(pl.element().str.len_bytes() > 0))
    empty = pl.Series([[]], dtype=pl.List(pl.String))
    return pl.select(pl.when(missing).then(empty).otherwise(lists)).to_series()


def days(values: pl.Series) -> pl.Series:
    """Day numbers as Int64: integers as they are, dates counted from 1970.

    Example:

    >>> days(pl.Series(["7", "1970-01-03", "soon"])).to_list()
    [7, 2, None]
    """
    if values.dtype.is_temporal():
        return values.cast(pl.Date).cast(pl.Int64)
    if values.dtype.is_numeric():
        whole = values.cast(pl.Int64, strict=False)
        return whole.set(whole.cast(pl.Float64) != values.cast(pl.Float64), None)
    text = texts(values)
    number = text.cast(pl.Int64, strict=False)
    date = text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Int64)
    return number.zip_with(number.is_not_null(), date)


def seconds(values: pl.Series, units_per_second: int) -> pl.Series:
    """Whole seconds since 1970 as Int64, of numbers or of ISO times.

    A time without an offset is taken as UTC.

    Example:

    >>> times = pl.Series(["61.5", "1970-01-01 00:02", "1970-01-01T01:00:00+01:00"])
    >>> seconds(times, 1).to_list()
    [61, 120, 0]
    """
    if values.dtype.is_temporal():
        is_date = values.dtype == pl.Date
        return (values.cast(pl.Datetime("us")) if is_date else values).dt.epoch("s")
    text = None if values.dtype.is_numeric() else texts(values)
    number = (values if text is None else text).cast(pl.Float64, strict=False)
    number = (number / units_per_second).floor()
    number = number.set(~(number.abs() < _MAX_SECONDS), None)
    whole = number.cast(pl.Int64)
    if text is None or whole.null_count() == text.null_count():
        return whole
    return whole.zip_with(whole.is_not_null(), _iso_seconds(text))


def _iso_seconds(text: pl.Series) -> pl.Series:
    column = by_name(text.name)
    iso = column.str.replace(" ", "T", literal=True).str.replace(r"(Z|TUTC)$", "+0000")
    times = []
    for form in _TIME_FORMATS:
        time = iso.str.to_datetime(form, time_unit="us", strict=False)
        if form.endswith("%z"):
            time = time.dt.replace_time_zone(None)  # it is UTC by now
        times.append(time)
    times.append(iso.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")))
    frame = text.to_frame()
    return frame.select(pl.coalesce(times).dt.epoch("s")).to_series()
