"""Folders of parts, columns in the names of folders, and parts without rows."""

import gzip
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from pipelines.logs.columns import Columns
from pipelines.logs.inputs import Inputs, input_files, partition_values
from pipelines.logs.rows_to_score import RowsToScore, as_texts
from pipelines.prepare import prepare
from tests.support.log_files import write
from tests.support.raw_rows import make_rows, write_rows
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import SPLITS, FeatureSchema

DESCRIPTION = "{label: y, categorical: [c, shop], split: {day: day}}"
DAYS = ["2024-05-01", "2024-05-02", "2024-05-03"]


def labels_and_ids(directory):
    schema = FeatureSchema.load(directory)
    rows = []
    for split in SPLITS:
        for features, labels in read_split(directory, schema, split, 100):
            ids = features["categorical_features"].numpy().tolist()
            rows += sorted(zip(labels.numpy().ravel().tolist(), ids, strict=True))
    return rows


@pytest.fixture
def log(tmp_path):
    """The same rows as one file and as a folder of parts."""
    rows = [(i % 2, f"c{i % 5}", f"s/{i % 3}", DAYS[i // 40]) for i in range(120)]
    head = "y,c,shop,day"
    lines = [head, *(",".join(map(str, row)) for row in rows)]
    write(tmp_path / "log.csv", "\n".join(lines) + "\n")
    for day in DAYS:
        for shop in ("s/0", "s/1", "s/2"):
            part = [f"{y},{c}" for y, c, s, d in rows if (s, d) == (shop, day)]
            folder = (
                tmp_path / "log" / f"day={day}" / f"shop={shop.replace('/', '%2F')}"
            )
            folder.mkdir(parents=True)
            write(folder / "part-00001.csv", "\n".join(["y,c", *part]) + "\n")
            write(folder / "part-00000.csv", "y,c\n")
            write(folder / "part-00002.csv.gz", "")
            write(folder / ".part-00001.csv.crc", b"\0\1")
            write(folder / "_SUCCESS", "")
    (tmp_path / "log" / "_temporary").mkdir()
    write(tmp_path / "log" / "_temporary" / "part-00000.csv", "no log")
    return tmp_path


@pytest.mark.parametrize(
    "engine", ["local", pytest.param("spark", marks=pytest.mark.slow)]
)
def test_a_folder_of_parts_is_one_log(log, engine, capsys):
    columns = write(log / "columns.yaml", DESCRIPTION)
    config = PrepareConfig(
        columns=columns, min_frequency=1, validation_days=1, test_days=1
    )
    prepare([log / "log.csv"], log / "one", config)
    config = replace(
        config, engine=engine, master="local[2]" if engine == "spark" else None
    )
    capsys.readouterr()
    prepare([log / "log"], log / "parts", config)
    assert "18 of 27 files have no rows: " in capsys.readouterr().out
    assert labels_and_ids(log / "parts") == labels_and_ids(log / "one")
    files = FeatureSchema.load(log / "parts").source["files"]
    assert files[1]["name"] == f"log/day={DAYS[0]}/shop=s%2F0/part-00001.csv"
    prepare([log / "log"], log / "parts", config)
    assert "is already prepared" in capsys.readouterr().out


def test_rows_to_score_come_from_all_parts(log):
    columns = Columns("y", (), ("c", "shop"))
    frame = pl.concat(RowsToScore(log / "log", columns))
    rows_of_one_file = pl.concat(RowsToScore(log / "log.csv", columns))
    assert frame.height == 120
    assert sorted(frame.rows()) == sorted(rows_of_one_file.rows())
    assert as_texts(frame, columns)["shop"][:14] == [b"s/0"] * 14


def test_parquet_parts_have_the_columns_of_their_folders(tmp_path):
    for day, values in (("7", [1.5]), ("__HIVE_DEFAULT_PARTITION__", []), ("8", [2.5])):
        folder = tmp_path / "log" / f"n={day}"
        folder.mkdir(parents=True)
        frame = pl.DataFrame({"a": values}, schema={"a": pl.Float64})
        frame.write_parquet(folder / "part-0.parquet")
    write(tmp_path / "log" / "n=8" / "part-1.parquet", b"")
    columns = Columns("y", ("a", "n"), (), format="parquet")
    frame = pl.concat(RowsToScore(tmp_path / "log", columns))
    assert frame.rows() == [(1.5, 7.0), (2.5, 8.0)]


def test_a_missing_value_may_be_a_folders():
    path = Path("log/shop=__HIVE_DEFAULT_PARTITION__/day=5/part-0")
    assert partition_values(path) == {"shop": None, "day": "5"}
    assert partition_values(Path("day=1/other/part-0")) == {}


def test_text_without_a_head_line_may_lack_what_folders_name(tmp_path):
    folder = tmp_path / "day=5"
    folder.mkdir()
    path = write(folder / "part.csv", "1,u1\n0,u2\n")
    columns = Columns("y", (), ("user", "day"), names=("y", "user", "day"))
    assert pl.concat(RowsToScore(path, columns)).rows() == [("u1", "5"), ("u2", "5")]
    write(path, "u1\nu2\n")
    assert pl.concat(RowsToScore(path, columns)).rows() == [("u1", "5"), ("u2", "5")]


def test_a_file_has_its_own_column_rather_than_its_folders(tmp_path):
    (tmp_path / "user=u9").mkdir()
    path = write(tmp_path / "user=u9" / "part.csv", "user\nu1\n")
    columns = Columns("y", (), ("user",))
    assert pl.concat(RowsToScore(path, columns)).rows() == [("u1",)]


def test_a_folder_without_files_is_refused(tmp_path):
    write(tmp_path / "_SUCCESS", "")
    with pytest.raises(InputError, match="is a folder without a file of a log"):
        input_files(tmp_path)


@pytest.mark.parametrize(
    "contents", [b"", gzip.compress(b"", mtime=0), b"\xef\xbb\xbf"]
)
def test_criteos_parts_may_be_empty_but_not_all(tmp_path, contents, capsys):
    rows = make_rows(60)
    folder = tmp_path / "log"
    folder.mkdir()
    write_rows(folder / "part-1", rows)
    (folder / "part-0").write_bytes(contents)
    (folder / "part-2").write_bytes(contents)
    config = PrepareConfig(min_frequency=1)
    prepare([folder], tmp_path / "data", config)
    assert "2 of 3 files have no rows" in capsys.readouterr().out
    schema = FeatureSchema.load(tmp_path / "data")
    assert sum(schema.num_rows(split) for split in SPLITS) == 60
    assert len(schema.split["rows_per_day"]) == 7
    (folder / "part-1").write_bytes(contents)
    with pytest.raises(InputError, match="part-0 is empty, expected rows of a Criteo"):
        prepare([folder], tmp_path / "none", config)


def test_a_data_set_is_not_made_among_its_raw_files(tmp_path):
    write_rows(tmp_path / "part-0", make_rows(60))
    for output in (tmp_path, tmp_path / "data"):
        with pytest.raises(InputError, match="which is read as a log"):
            prepare([tmp_path], output, PrepareConfig(min_frequency=1))


def test_a_day_without_rows_is_no_day(tmp_path):
    for day in range(4):
        write_rows(tmp_path / f"day_{day}", make_rows(50 * (day < 3), seed=day))
    raw = [tmp_path / f"day_{day}" for day in range(4)]
    prepare(raw, tmp_path / "data", PrepareConfig(min_frequency=1))
    schema = FeatureSchema.load(tmp_path / "data")
    assert schema.split["rows_per_day"] == [50, 50, 50]
    assert [schema.num_rows(split) for split in SPLITS] == [100, 25, 25]


def test_each_folder_is_a_day(tmp_path):
    for name, count in (("a/1", 3), ("a/2", 4), ("b", 5)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        write_rows(path, make_rows(count))
    inputs = Inputs.of([tmp_path / "a", tmp_path / "b"])
    assert inputs.names == ["a/1", "a/2", "b"]
    assert inputs.rows_per_input([3, 4, 5]) == [7, 5]
    assert inputs.rows_per_input([0, 0, 5]) == [5]
