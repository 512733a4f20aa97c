"""Logs in Parquet: types that are read, and types that are refused."""

import datetime
from dataclasses import replace

import polars as pl
import pytest

from pipelines.logs.columns import Columns, DaysBy
from pipelines.logs.opening import open_log
from pipelines.logs.parquet_log import ParquetLog
from pipelines.logs.values import TIME_KEY
from tests.support.log_files import read
from tfdlrm.base.errors import InputError

PARQUET = Columns(
    label="y",
    dense_features=("a", "b"),
    single_hot=("c", "d"),
    multi_hot=("e", "f"),
    separators=(None, "|"),
    format="parquet",
    days_by=DaysBy("t", "time"),
)
FRAME = pl.DataFrame(
    {
        "t": [datetime.datetime(2001, 9, 9, 1, 46, 40), datetime.datetime(2024, 5, 1)],
        "y": [True, False],
        "a": pl.Series([1, None], dtype=pl.Int16),
        "b": [0.5, -1.0],
        "c": pl.Series([7, None], dtype=pl.UInt64),
        "d": pl.Series(["x", "y"], dtype=pl.Categorical),
        "e": pl.Series([[1, None, 2], None], dtype=pl.List(pl.Int32)),
        "f": ["p|q", None],
    }
)


def test_parquet_is_read_by_its_types(tmp_path):
    FRAME.write_parquet(tmp_path / "log.parquet")
    log = ParquetLog(tmp_path / "log.parquet", PARQUET, chunk_rows=1)
    assert [frame.height for frame in log] == [1, 1]
    assert log.bytes_read == log.num_bytes
    assert read(log) == {
        "y": [1, 0],
        "a": [1.0, None],
        "b": [0.5, -1.0],
        "c": ["7", None],
        "d": ["x", "y"],
        "e": [["1", "2"], []],
        "f": [["p", "q"], []],
        TIME_KEY: [1_000_000_000, 1_714_521_600],
    }


def test_parquet_labels_may_be_categories(tmp_path):
    labels = pl.Series(["buy", "look"], dtype=pl.Categorical)
    FRAME.with_columns(y=labels).write_parquet(tmp_path / "log.parquet")
    columns = replace(PARQUET, positive="buy")
    assert read(open_log(tmp_path / "log.parquet", columns))["y"] == [1, 0]


@pytest.mark.parametrize(
    ("positive", "labels"), [("True", [1, 0]), ("true", [1, 0]), ("False", [0, 1])]
)
def test_parquet_labels_that_are_true_or_false_are_so_in_any_case(
    tmp_path, positive, labels
):
    flags = pl.Series([True, False])
    FRAME.with_columns(y=flags).write_parquet(tmp_path / "log.parquet")
    columns = replace(PARQUET, positive=positive)
    assert read(open_log(tmp_path / "log.parquet", columns))["y"] == labels


def test_parquet_rows_and_types_that_do_not_fit_are_named(tmp_path):
    path = tmp_path / "log.parquet"
    FRAME.with_columns(y=pl.Series([1, 3])).write_parquet(path)
    with pytest.raises(InputError, match=r"row 2: column 'y' is 3, expected 0 or 1"):
        read(open_log(path, PARQUET))
    for label in (float("nan"), float("inf"), 0.5):
        FRAME.with_columns(y=pl.Series([1.0, label])).write_parquet(path)
        with pytest.raises(InputError, match=r"row 2: column 'y' is .*expected 0 or 1"):
            read(open_log(path, PARQUET))
    for name, values in [("c", [[0.5], [1.5]]), ("e", ["a", "b"]), ("a", [[1], [2]])]:
        FRAME.with_columns(pl.Series(name, values)).write_parquet(path)
        with pytest.raises(InputError, match=f"column '{name}' is of type"):
            open_log(path, PARQUET)
