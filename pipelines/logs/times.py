"""Convert days and times of a log to numbers."""

import datetime
import math
import re

import polars as pl

from pipelines.logs.value_texts import floats_as_integers, texts

UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
SECONDS_PER_DAY = 86_400

FIRST_YEAR, LAST_YEAR = 1990, 2100
"""No log is older or younger: any other time was read in the wrong unit."""

_EPOCH = datetime.datetime(1970, 1, 1)
_FIRST_DAY = (datetime.datetime(FIRST_YEAR, 1, 1) - _EPOCH).days
_END_DAY = (datetime.datetime(LAST_YEAR + 1, 1, 1) - _EPOCH).days
_LAST_NUMBER_OF_A_DAY = 99_991_231
"""The last day of the year 9999, written as an integer."""

_MAX_SECONDS = 1e11
"""A second of the year 5138: a larger number has a smaller unit than seconds."""

_TIME = (
    r"^(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](?P<hour>[01]\d|2[0-3])(?::(?P<minute>[0-5]\d)"
    r"(?::(?P<second>[0-5]\d|60)(?:[.,]\d+)?)?)?"
    r"(?: ?(?:[Zz]|UTC|GMT|(?P<sign>[+-])(?P<hours>[01]\d|2[0-3])"
    r"(?::?(?P<minutes>[0-5]\d)(?::?(?P<seconds>[0-5]\d))?)?))?)?$"
)


def days(values: pl.Series) -> pl.Series:
    """Return day numbers as Int64: integers as they are, dates as days since 1970.

    Example:

    >>> days(pl.Series(["7", "8.0", "1970-01-03", "soon"])).to_list()
    [7, 8, 2, None]
    """
    if values.dtype.is_temporal():
        return values.cast(pl.Date).cast(pl.Int64)
    if values.dtype.is_numeric():
        integers = values.cast(pl.Int64, strict=False)
        return integers.set(integers.cast(pl.Float64) != values.cast(pl.Float64), None)
    text = floats_as_integers(texts(values))
    number = text.cast(pl.Int64, strict=False)
    return number.zip_with(number.is_not_null(), _dates(text))


def seconds(values: pl.Series, units_per_second: int) -> pl.Series:
    """Return numbers, or times in ISO 8601, as whole seconds since 1970, in Int64.

    A time without an offset is in UTC. Times may also be written as by BigQuery and
    PostgreSQL.

    Example:

    >>> times = pl.Series(["61.5", "1970-01-01 00:02", "1970-01-01 02:00:00.5+02"])
    >>> seconds(times, 1).to_list()
    [61, 120, 0]
    """
    if values.dtype.is_temporal():
        is_date = values.dtype == pl.Date
        return (values.cast(pl.Datetime("us")) if is_date else values).dt.epoch("s")
    text = None if values.dtype.is_numeric() else texts(values)
    whole_seconds = _whole_seconds(values if text is None else text, units_per_second)
    if text is None or whole_seconds.null_count() == text.null_count():
        return whole_seconds
    return whole_seconds.zip_with(whole_seconds.is_not_null(), _seconds_of_times(text))


def _whole_seconds(values: pl.Series, units_per_second: int) -> pl.Series:
    """Return numbers of a unit as whole seconds; null if no number, or too large."""
    number = values.cast(pl.Float64, strict=False)
    limit = _MAX_SECONDS * units_per_second
    number = number.set(~(number.abs() < limit), None)
    whole_number = (number / units_per_second).floor().cast(pl.Int64)
    if units_per_second == 1 or values.dtype.is_float():
        return whole_number
    # Nanoseconds since 1970 are more than a float holds exactly.
    exact = values.cast(pl.Int64, strict=False) // units_per_second
    return exact.zip_with(
        exact.is_not_null() & whole_number.is_not_null(), whole_number
    )


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
    """Return `seconds`, but null for years outside 1990 to 2100."""
    number = seconds(values, units_per_second)
    first_second, end_second = _FIRST_DAY * SECONDS_PER_DAY, _END_DAY * SECONDS_PER_DAY
    return number.set(~((number >= first_second) & (number < end_second)), None)


def plausible_days(values: pl.Series) -> pl.Series:
    """Return `days`, but null for dates of years outside 1990 to 2100.

    Integers may be any day numbers, but not as large as seconds since 1970: every
    second would be a day.
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
    """Say which date a bad time is in its unit, and which unit fits if one does.

    Example:

    >>> explain_time(b"1714550400", "ms")
    '; 1714550400 is 1970-01-20 in ms, 2024-05-01 in s: set unit: s'
    """
    number = _number(value)
    if number is None:
        return ""
    date = _date(number / UNITS_PER_SECOND[unit])
    explanation = f"; {_as_text(value)} is {date} in {unit}"
    fitting_unit = _fitting_unit(number)
    if fitting_unit is None:
        return explanation
    better_unit, words = fitting_unit
    return f"{explanation}, {words}: set unit: {better_unit}"


def explain_day(value: object) -> str:
    """Say which time a whole number may be that is no day.

    Example:

    >>> explain_day("1714550400000")
    '; 1714550400000 is 2024-05-01 in ms: split by it as a time with unit: ms'
    """
    number = _number(value)
    if number is None:
        has_time = re.match(r"\d{4}-\d{2}-\d{2}[Tt ]", _as_text(value))
        return "; it has a time of the day: split by it as a time" if has_time else ""
    fitting_unit = _fitting_unit(number)
    if fitting_unit is None:
        return ""
    unit, words = fitting_unit
    return f"; {_as_text(value)} is {words}: split by it as a time with unit: {unit}"


def _fitting_unit(number: float) -> tuple[str, str] | None:
    """Return the unit in which a number is a time of a log, and the date in words."""
    for unit, per_second in UNITS_PER_SECOND.items():
        if _FIRST_DAY <= number / per_second // SECONDS_PER_DAY < _END_DAY:
            return unit, f"{_date(number / per_second)} in {unit}"
    return None


def _as_text(value: object) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _number(value: object) -> float | None:
    try:
        number = float(_as_text(value))
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
    """Return the name of a day, with its date if it may have been one.

    Example:

    >>> describe_day(19_844), describe_day(12)
    ('2024-05-01 (day 19844)', 'day 12')
    """
    if not _FIRST_DAY <= day < _END_DAY:
        return f"day {day}"
    return f"{_date(float(day) * SECONDS_PER_DAY)} (day {day})"
