"""The column that tells when a row was logged."""

import datetime

import numpy as np
import polars as pl
import pytest

from pipelines.columns import Columns, DaysBy
from pipelines.log_values import TIME_KEY, seconds
from pipelines.logs import open_log
from tests.log_files import read, write
from tfdlrm.errors import InputError


@pytest.mark.parametrize(
    ("kind", "unit", "values", "expected"),
    [
        ("day", "s", ["3", "-1", "1970-01-05"], [3, -1, 4]),
        ("time", "s", ["0", "86400.9", "1.7e9"], [0, 86_400, 1_700_000_000]),
        ("time", "ms", ["86400999"], [86_400]),
        (
            "time",
            "s",
            [
                *("1970-01-02", "1970-01-02 00:01", "1970-01-02T00:00:02.5Z"),
                *("1970-01-02T01:00:00+01:00", "1970-01-02T00:00:00-0030", "1"),
            ],
            [86_400, 86_460, 86_402, 86_400, 88_200, 1],
        ),
    ],
)
def test_days_and_times_become_numbers(tmp_path, kind, unit, values, expected):
    columns = Columns("y", ("a",), (), days_by=DaysBy("t", kind, unit))
    rows = "".join(f"1,2,{value}\n" for value in values)
    path = write(tmp_path / "log.csv", f"y,a,t\n{rows}")
    assert read(open_log(path, columns))[TIME_KEY] == expected
    write(path, "y,a\n1,2\n")
    assert list(read(open_log(path, columns, labelled=False))) == ["a"]


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("day", "1.5", "expected a whole number or a date"),
        ("day", "", "is missing, expected a whole number"),
        ("time", "1714521600000", "expected a time such as .* or a number of s"),
        ("time", "yesterday", "expected a time such as"),
        ("time", "2024-13-01", "expected a time such as"),
    ],
)
def test_a_bad_day_or_time_is_named(tmp_path, kind, value, message):
    columns = Columns("y", ("a",), (), days_by=DaysBy("t", kind))
    path = write(tmp_path / "log.csv", f"y,a,t\n1,2,{value}\n")
    with pytest.raises(InputError, match=f"row 2: column 't' .*{message}"):
        read(open_log(path, columns))


def test_seconds_agree_with_the_datetime_module():
    rng = np.random.default_rng(0)
    moments = [
        datetime.datetime.fromtimestamp(int(each), datetime.UTC)
        for each in rng.integers(-(2**31), 2**33, 500)
    ]
    texts = pl.Series([moment.isoformat() for moment in moments])
    assert seconds(texts, 1).to_list() == [int(m.timestamp()) for m in moments]
