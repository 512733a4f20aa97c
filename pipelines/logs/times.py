"""What days and times of a log mean, as numbers."""

import datetime
import math
import re

import polars as pl

from pipelines.logs.value_texts import floats_as_integers, texts

UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
SECONDS_PER_DAY = 86_400

FIRST_YEAR, LAST_YEAR = 1990, 2100
"""Logs are not older or younger: a time elsewhere was read in another unit."""

_EPOCH = datetime.datetime(1970, 1, 1)
_FIRST_DAY = (datetime.datetime(FIRST_YEAR, 1, 1) - _EPOCH).days
_END_DAY = (datetime.datetime(LAST_YEAR + 1, 1, 1) - _EPOCH).days
_LAST_NUMBER_OF_A_DAY = 99_991_231
"""The last day of the year 9999, written as an integer."""

_MAX_SECONDS = 1e11
"""In the year 5138: a larger number counts something smaller than seconds."""

_TIME = (
    r"^(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](?P<hour>[01]\d|2[0-3])(?::(?P<minute>[0-5]\d)"
    r"(?::(?P<second>[0-5]\d|60)(?:[.,]\d+)?)?)?"
    r"(?: ?(?:[Zz]|UTC|GMT|(?P<sign>[+-])(?P<hours>[01]\d|2[0-3])"
    r"(?::?(?P<minutes>[0-5]\d)(?::?(?P<seconds>[0-5]\d))?)?))?)?$"
)


def days(values: pl.Series) -> pl.Series:
    """Day numbers as Int64: integers as they are, dates counted from 1970.

    Example:

    >>> days(pl.Series(["7", "8.0", "1970-01-03", "soon"])).to_list()
    [7, 8, 2, None]
    """
    if values.dtype.is_temporal():
        return values.cast(pl.Date).cast(pl.Int64)
    if values.dtype.is_numeric():
        whole = values.cast(pl.Int64, strict=False)
        return whole.set(whole.cast(pl.Float64) != values.cast(pl.Float64), None)
    text = floats_as_integers(texts(values))
    number = text.cast(pl.Int64, strict=False)
    return number.zip_with(number.is_not_null(), _dates(text))


def seconds(values: pl.Series, units_per_second: int) -> pl.Series:
    """Whole seconds since 1970 as Int64, of numbers or of times in ISO 8601.

    A time without an offset is taken as UTC. Times may also be written as BigQuery and
    PostgreSQL do.

    Example:

    >>> times = pl.Series(["61.5", "1970-01-01 00:02", "1970-01-01 02:00:00.5+02"])
    >>> seconds(times, 1).to_list()
    [61, 120, 0]
    """
    if values.dtype.is_temporal():
        is_date = values.dtype == pl.Date
        return (values.cast(pl.Datetime("us")) if is_date else values).dt.epoch("s")
    text = None if values.dtype.is_numeric() else texts(values)
    whole = _whole_seconds(values if text is None else text, units_per_second)
    if text is None or whole.null_count() == text.null_count():
        return whole
    return whole.zip_with(whole.is_not_null(), _seconds_of_times(text))


def _whole_seconds(values: pl.Series, units_per_second: int) -> pl.Series:
    """Numbers of a unit as whole seconds; null what is none, or too large."""
    number = values.cast(pl.Float64, strict=False)
    limit = _MAX_SECONDS * units_per_second
    number = number.set(~(number.abs() < limit), None)
    whole = (number / units_per_second).floor().cast(pl.Int64)
    if units_per_second == 1 or values.dtype.is_float():
        return whole
    # Nanoseconds since 1970 are more than a float holds exactly.
    exact = values.cast(pl.Int64, strict=False) // units_per_second
    return exact.zip_with(exact.is_not_null() & whole.is_not_null(), whole)


def _seconds_of_times(text: pl.Series) -> pl.Series:
    group = text.alias("time").to_frame()
    parts = group.select(pl.col("time").str.extract_groups(_TIME)).unnest("time")

    def part(name: str, factor: int) -> pl.Expr:
        return pl.col(name).cast(pl.Int64).fill_null(0) * factor

    date = pl.col("date").str.to_date("%Y-%m-%d", strict=False).cast(pl.Int64)
    time = part("hour", 3600) + part("minute", 60) + part("second", 1)
    offset = part("hours", 3600) + part("minutes", 60) + part("seconds", 1)
    sign = pl.when(pl.col("sign") == "-").then(-1).otherwise(1)
    return parts.select(date * SECONDS_PER_DAY + time - sign * offset).to_series()


def _dates(text: pl.Series) -> pl.Series:
    return text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Int64)


def plausible_seconds(values: pl.Series, units_per_second: int) -> pl.Series:
    """`seconds`, null where they are of no year from 1990 to 2100."""
    number = seconds(values, units_per_second)
    first, end = _FIRST_DAY * SECONDS_PER_DAY, _END_DAY * SECONDS_PER_DAY
    return number.set(~((number >= first) & (number < end)), None)


def plausible_days(values: pl.Series) -> pl.Series:
    """`days`, null where a date is of no year from 1990 to 2100.

    Integers may be any days, but not seconds since 1970: each would be a day.
    """
    number = days(values)
    if values.dtype.is_numeric():
        is_date: pl.Series | bool = False
    elif values.dtype.is_temporal():
        is_date = True
    else:
        text = floats_as_integers(texts(values))
        is_date = text.cast(pl.Int64, strict=False).is_null()
    is_dated = (number >= _FIRST_DAY) & (number < _END_DAY)
    is_numbered = number.abs() <= _LAST_NUMBER_OF_A_DAY
    if isinstance(is_date, bool):
        return number.set(~(is_dated if is_date else is_numbered), None)
    return number.set(~is_dated.zip_with(is_date, is_numbered), None)


def explain_time(value: object, unit: str) -> str:
    """Say what a bad time is in its unit, and which unit fits if one does.

    Example:

    >>> explain_time(b"1714550400", "ms")
    '; 1714550400 is 1970-01-20 in ms, 2024-05-01 in s: set unit: s'
    """
    number = _number(value)
    if number is None:
        return ""
    read = f"; {_shown(value)} is {_date(number / UNITS_PER_SECOND[unit])} in {unit}"
    fitting = _fitting_unit(number)
    return read if fitting is None else f"{read}, {fitting[1]}: set unit: {fitting[0]}"


def explain_day(value: object) -> str:
    """Say which time a whole number is that is no day.

    Example:

    >>> explain_day("1714550400000")
    '; 1714550400000 is 2024-05-01 in ms: split by it as a time with unit: ms'
    """
    number = _number(value)
    if number is None:
        has_time = re.match(r"\d{4}-\d{2}-\d{2}[Tt ]", _shown(value))
        return "; it has a time of the day: split by it as a time" if has_time else ""
    fitting = _fitting_unit(number)
    if fitting is None:
        return ""
    unit, words = fitting
    return f"; {_shown(value)} is {words}: split by it as a time with unit: {unit}"


def _fitting_unit(number: float) -> tuple[str, str] | None:
    """The unit in which a number is a time that logs have, and what it is then."""
    for unit, per_second in UNITS_PER_SECOND.items():
        if _FIRST_DAY <= number / per_second // SECONDS_PER_DAY < _END_DAY:
            return unit, f"{_date(number / per_second)} in {unit}"
    return None


def _shown(value: object) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _number(value: object) -> float | None:
    try:
        number = float(_shown(value))
    except ValueError:
        return None
    return number if abs(number) < math.inf else None


def _date(number_of_seconds: float) -> str:
    try:
        moment = _EPOCH + datetime.timedelta(seconds=number_of_seconds)
    except OverflowError:
        return "no date"
    return moment.date().isoformat()


def describe_day(day: int) -> str:
    """Name a day, by its date too if it may have been one.

    Example:

    >>> describe_day(19_844), describe_day(12)
    ('2024-05-01 (day 19844)', 'day 12')
    """
    if not _FIRST_DAY <= day < _END_DAY:
        return f"day {day}"
    return f"{_date(float(day) * SECONDS_PER_DAY)} (day {day})"
