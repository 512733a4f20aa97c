"""The column with the day or time of a row."""

import datetime

import numpy as np
import polars as pl
import pytest

from pipelines.logs.columns import Columns, DaysBy
from pipelines.logs.opening import open_log
from pipelines.logs.times import seconds
from pipelines.logs.values import TIME_KEY
from tests.support.log_files import read, write
from tfdlrm.base.errors import InputError

DAY = int(datetime.datetime(1990, 1, 1, tzinfo=datetime.UTC).timestamp())


@pytest.mark.parametrize(
    ("days_kind", "unit", "values", "expected"),
    [
        ("day", "s", ["3", "-1", "1990-01-05"], [3, -1, 7309]),
        ("day", "s", ["3.0", "-1.0", "20240501.0"], [3, -1, 20_240_501]),
        ("time", "s", ["631152000", "1e9", "1.7e9"], [DAY, 10**9, 17 * 10**8]),
        ("time", "ms", ["1714550400999"], [1_714_550_400]),
        ("time", "us", ["1714550400999999"], [1_714_550_400]),
        ("time", "ns", ["1714550399999999999"], [1_714_550_399]),
        (
            "time",
            "s",
            [
                *("1990-01-01", "1990-01-01 00:01", "1990-01-01T00:00:02.5Z"),
                *("1990-01-01T01:00:00+01:00", "1990-01-01T00:00:00-0030"),
            ],
            [DAY, DAY + 60, DAY + 2, DAY, DAY + 1800],
        ),
    ],
)
def test_days_and_times_become_numbers(tmp_path, days_kind, unit, values, expected):
    columns = Columns("y", ("a",), (), days_by=DaysBy("t", days_kind, unit))
    rows = "".join(f"1,2,{value}\n" for value in values)
    path = write(tmp_path / "log.csv", f"y,a,t\n{rows}")
    assert read(open_log(path, columns))[TIME_KEY] == expected
    write(path, "y,a\n1,2\n")
    assert list(read(open_log(path, columns, labelled=False))) == ["a"]


@pytest.mark.parametrize(
    ("days_kind", "value", "message"),
    [
        ("day", "1.5", "expected a whole number or a date"),
        ("day", "", "is missing, expected a whole number"),
        ("time", "1714521600000", "expected a time such as .* or a number of s"),
        ("time", "yesterday", "expected a time such as"),
        ("time", "0", "0 is 1970-01-01 in s"),
        ("time", "1989-12-31T23:59:59", "of a year from 1990 to 2100"),
        ("time", "2101-01-01", "of a year from 1990 to 2100"),
        ("day", "1970-01-05", "of a year from 1990 to 2100"),
        ("day", "2024-05-01 08:00:00", "it has a time of the day: split by it as a"),
        ("day", "1714550400", "2024-05-01 in s: split by it as a time with unit: s"),
        ("time", "2024-13-01", "expected a time such as"),
    ],
)
def test_a_bad_day_or_time_is_named(tmp_path, days_kind, value, message):
    columns = Columns("y", ("a",), (), days_by=DaysBy("t", days_kind))
    path = write(tmp_path / "log.csv", f"y,a,t\n1,2,{value}\n")
    with pytest.raises(InputError, match=f"row 2: column 't' .*{message}"):
        read(open_log(path, columns))


@pytest.mark.parametrize(
    ("unit", "value", "fitting"),
    [
        ("ms", "1714550400", "s"),
        ("s", "1714550400000", "ms"),
        ("s", "1714550400000000", "us"),
        ("us", "1714550400000000000", "ns"),
        ("ns", "1714550400", "s"),
    ],
)
def test_the_unit_that_a_time_fits_is_named(tmp_path, unit, value, fitting):
    columns = Columns("y", ("a",), (), days_by=DaysBy("t", "time", unit))
    path = write(tmp_path / "log.csv", f"y,a,t\n1,2,{value}\n")
    message = f"{value} is .* in {unit}, 2024-05-01 in {fitting}: set unit: {fitting}"
    with pytest.raises(InputError, match=message):
        read(open_log(path, columns))


UTC = datetime.UTC
EIGHT = datetime.datetime(2024, 5, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        *(
            (f"2024-05-01{t}08:00:00{end}", 0)
            for t in " T"
            for end in ("", "Z", " UTC")
        ),
        *((f"2024-05-01 08:00:00.{digits} UTC", 0) for digits in ("5", "123456789")),
        *((f"2024-05-01 08:00:00{end}", 0) for end in ("+00", ".25+00", "-00:00")),
        *((f"2024-05-01 08:00:00{end}", 2) for end in ("+02", "+0200", "+02:00")),
        *((f"2024-05-01 08:00:00{end}", 5.5) for end in ("+05:30", "+0530")),
        *((f"2024-05-01 08:00:00{end}", -2.5) for end in ("-02:30", "-0230")),
        *((f"2024-05-01{time}", 0) for time in ("T08Z", "T08:00Z", "t08:00:00z")),
        ("2024-05-01 08:00 UTC", 0),
        ("2024-05-01T08+02", 2),
        ("2024-05-01 08:00:00,5", 0),
        ("2024-05-01 08:00:00 +0200", 2),
    ],
)
def test_times_are_read_as_databases_write_them(text, hours):
    right = EIGHT - datetime.timedelta(hours=hours)
    assert seconds(pl.Series([text]), 1).to_list() == [int(right.timestamp())]


@pytest.mark.parametrize(
    "text",
    [
        *("2024-05-01T24:00Z", "2024-05-01T08:60", "2024-02-30T08:00Z", "2024-05-01Z"),
        *("2024-05-01T08:00 CET", "2024-05-01T08:00+2", "2024-05-01 08:00:00+02:60"),
        *("2024-05-01 08:00:00+24", "2024-05-01T08:00-99:00"),
        *("May 1, 2024", "2024-05-01T", "2024/05/01", "08:00"),
    ],
)
def test_what_is_no_time_is_not_guessed(text):
    assert seconds(pl.Series([text]), 1).to_list() == [None]


def test_nanoseconds_are_cut_as_integers_are():
    around = 1_714_550_400 * 10**9
    values = [around - 1, around, around + 1, -1]
    expected = [value // 10**9 for value in values]
    assert seconds(pl.Series(values), 10**9).to_list() == expected
    assert seconds(pl.Series(map(str, values)), 10**9).to_list() == expected


def test_seconds_agree_with_the_datetime_module():
    rng = np.random.default_rng(0)
    moments = [
        datetime.datetime.fromtimestamp(int(number), datetime.UTC)
        for number in rng.integers(-(2**31), 2**33, 500)
    ]
    texts = pl.Series([moment.isoformat() for moment in moments])
    assert seconds(texts, 1).to_list() == [int(m.timestamp()) for m in moments]
