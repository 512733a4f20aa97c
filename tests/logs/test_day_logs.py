"""A log is cut into the logs of its days, with every row as it was."""

import csv
import gzip
import io
from dataclasses import replace

import polars as pl
import pytest

from pipelines.logs.columns import Columns, DaysBy
from pipelines.logs.columns_file import load_columns
from pipelines.logs.day_logs import cut_into_days
from pipelines.logs.inputs import Inputs
from pipelines.logs.opening import open_all
from tests.support.own_log import DESCRIPTION, ROWS, write_log
from tfdlrm.base.errors import InputError

SECONDS = 86_400


def frames_of(path, columns):
    files = open_all(Inputs.of([path]), columns)
    return pl.concat(frame for file in files for frame in file.frames())


def cut(log, columns, tmp_path, on_bad_row="stop"):
    output = tmp_path / "days"
    output.mkdir()
    return [output / name for name in cut_into_days(log, columns, on_bad_row, output)]


@pytest.fixture(scope="module")
def own_columns(tmp_path_factory):
    path = tmp_path_factory.mktemp("columns") / "columns.yaml"
    path.write_text(DESCRIPTION)
    return load_columns(path)


def day_of(row):
    return int(row["ts"]) // SECONDS


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_rows_in_no_order_go_to_their_days_as_they_are(tmp_path, own_columns, name):
    # With quotes, doubled quotes, separators and line ends in values.
    days = cut(write_log(tmp_path / name, ROWS), own_columns, tmp_path)
    numbers = sorted({day_of(row) for row in ROWS})
    assert len(days) == len(numbers) == 6
    assert days[0].name == "2023-11-14"
    for number, day in zip(numbers, days, strict=True):
        (path,) = Inputs.of([day])
        assert path.name == "log.csv"
        rows = list(csv.DictReader(io.StringIO(path.read_text(), newline="")))
        assert rows == [row for row in ROWS if day_of(row) == number]


def test_the_rows_of_a_day_are_read_as_they_were_in_the_log(tmp_path, own_columns):
    log = write_log(tmp_path / "log.csv", ROWS)
    days = cut(log, own_columns, tmp_path)
    whole = frames_of(log, own_columns)
    parts = pl.concat(frames_of(day, own_columns) for day in days)
    in_order = whole.with_columns(
        day=whole["time"] // SECONDS
        if "time" in (whole.columns)
        else pl.Series([day_of(row) for row in ROWS])
    ).sort("day", maintain_order=True)
    assert parts.equals(in_order.drop("day"))


def test_a_row_may_be_escaped_and_lines_may_be_blank(tmp_path):
    columns = Columns(
        "y", (), ("c",), names=("d", "y", "c"), days_by=DaysBy("d", "day"), escape="\\"
    )
    text = "1,0,a\\\nb\n\n2,1,x\n1,1,\\,\n"
    (tmp_path / "log.csv").write_text(text)
    first, second = cut(tmp_path / "log.csv", columns, tmp_path)
    assert (first.name, second.name) == ("day_1", "day_2")
    assert frames_of(first, columns)["c"].to_list() == ["a\nb", ","]
    assert frames_of(second, columns)["c"].to_list() == ["x"]


def test_the_folders_of_a_log_may_name_the_day(tmp_path):
    columns = Columns("y", (), ("c",), days_by=DaysBy("day", "day"))
    for day, text in (("2024-05-02", "y,c\n1,a\n"), ("2024-05-01", "y,c\n0,b\n")):
        folder = tmp_path / "log" / f"day={day}"
        folder.mkdir(parents=True)
        (folder / "part-0.csv").write_text(text)
    days = cut(tmp_path / "log", columns, tmp_path)
    assert [day.name for day in days] == ["2024-05-01", "2024-05-02"]
    assert [frames_of(day, columns)["c"].to_list() for day in days] == [["b"], ["a"]]


def test_parquet_keeps_its_types(tmp_path):
    columns = Columns(
        "y", ("x",), ("c",), ("bag",), separators=(None,), format="parquet",
        days_by=DaysBy("d", "day"),
    )  # fmt: skip
    frame = pl.DataFrame(
        {
            "d": [2, 1, 2],
            "y": [0, 1, 1],
            "x": [0.5, None, 2.0],
            "c": ["a", "b", None],
            "bag": [["u"], [], ["v", "w"]],
        }
    )
    frame.write_parquet(tmp_path / "log.parquet")
    first, second = cut(tmp_path / "log.parquet", columns, tmp_path)
    for day, number in ((first, 1), (second, 2)):
        (path,) = Inputs.of([day])
        assert pl.read_parquet(path).equals(frame.filter(pl.col("d") == number))


def test_a_bad_row_is_named_by_its_place_in_the_log(tmp_path, own_columns):
    rows = [dict(row) for row in ROWS[:50]]
    rows[30]["price"] = "cheap"
    log = write_log(tmp_path / "log.csv", rows)
    with pytest.raises(InputError, match=r"log.csv row 32: column 'price' is 'cheap'"):
        cut(log, own_columns, tmp_path)


def test_rows_without_a_day_are_left_out_if_bad_rows_are_skipped(tmp_path, own_columns):
    rows = [dict(row) for row in ROWS[:50]]
    rows[30]["ts"] = "soon"
    log = write_log(tmp_path / "log.csv.gz", rows)
    assert gzip.decompress(log.read_bytes())
    days = cut(log, own_columns, tmp_path, "skip")
    parts = pl.concat(frames_of(day, own_columns) for day in days)
    assert parts.height == 49


def test_a_log_without_rows_is_refused(tmp_path, own_columns):
    log = tmp_path / "log.csv"
    log.write_text("ts,price,bought,tags,user,age,shops\n")
    with pytest.raises(InputError, match="no rows below it"):
        frames_of(log, replace(own_columns))
    assert cut(log, own_columns, tmp_path) == []
