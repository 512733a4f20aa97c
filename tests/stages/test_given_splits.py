"""Splits that are given as files are used as they are."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.prepare import PrepareCommand, prepare
from pipelines.verify import verify
from tests.support.plain_data_sets import CONFIG, ROWS, assert_holds
from tests.support.prepared_runs import files_of
from tests.support.raw_rows import write_rows
from tfdlrm.base.command_line import parse
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.runs.preparing import prepare as prepare_by_name


def write_parts(folder, **parts):
    """Write a file of rows for each name; return the paths by name."""
    folder.mkdir(exist_ok=True)
    return {
        name: write_rows(folder / f"{name}.txt", rows) for name, rows in parts.items()
    }


@pytest.fixture
def paths(tmp_path):
    return write_parts(
        tmp_path,
        first=ROWS[:400],
        second=ROWS[400:700],
        validation=ROWS[700:850],
        test=ROWS[850:],
    )


@pytest.fixture
def splits(paths):
    return {
        "test": [paths["test"]],  # in any order
        "train": [paths["first"], paths["second"]],
        "validation": [paths["validation"]],
    }


def test_each_split_has_the_rows_of_its_files(splits, tmp_path):
    schema = prepare([], tmp_path / "data", CONFIG, splits)
    assert_holds(tmp_path / "data", ROWS, (700, 850))
    assert schema.split["rows"] == {"train": 700, "validation": 150, "test": 150}
    assert schema.days == 2  # as the same training files would be by themselves
    assert verify(tmp_path / "data") == []


def test_the_command_and_python_make_the_same_data_set(splits, paths, tmp_path):
    prepare([], tmp_path / "data", CONFIG, splits)
    training = [str(paths["first"]), str(paths["second"])]
    prepare_by_name(
        output=tmp_path / "by_name",
        train=training,
        validation=paths["validation"],
        test=paths["test"],
        min_frequency=5,
    )
    command = parse(
        PrepareCommand,
        "pipelines.prepare",
        [
            *("--train", *training, "--validation", str(paths["validation"])),
            *("--test", str(paths["test"]), "--output", str(tmp_path / "other")),
            *("--min_frequency", "5"),
        ],
        several=("raw", "train", "validation", "test"),
    )
    assert command.splits == {name: (*splits[name],) for name in command.splits}
    assert files_of(tmp_path / "data") == files_of(tmp_path / "by_name")


def test_folders_and_training_alone_are_splits(tmp_path, paths):
    folder = tmp_path / "parts"
    write_parts(folder, part_0=ROWS[:400], part_1=ROWS[400:700])
    schema = prepare([], tmp_path / "data", CONFIG, {"train": [folder]})
    assert schema.split["rows"] == {"train": 700, "validation": 0, "test": 0}
    files = {"train": [paths["first"], paths["second"]]}
    prepare([], tmp_path / "files", CONFIG, files)
    for shard in schema.shards:
        other = (tmp_path / "files" / shard.path).read_bytes()
        assert (tmp_path / "data" / shard.path).read_bytes() == other


def test_the_next_log_with_splits_of_its_own_extends_a_data_set(splits, tmp_path):
    first = prepare([], tmp_path / "data", CONFIG, splits)
    swapped = {"train": splits["test"], "validation": splits["train"]}
    config = PrepareConfig(extend=tmp_path / "data")
    schema = prepare([], tmp_path / "next", config, swapped)
    assert schema.split["rows"] == {"train": 150, "validation": 700, "test": 0}
    sizes = zip(schema.vocabulary_sizes, first.vocabulary_sizes, strict=True)
    assert all(size >= earlier for size, earlier in sizes)


def test_the_same_splits_are_used_again_and_others_refused(splits, tmp_path, capsys):
    prepare([], tmp_path / "data", CONFIG, splits)
    capsys.readouterr()
    prepare([], tmp_path / "data", CONFIG, splits)
    assert "is already prepared from these files" in capsys.readouterr().out
    swapped = {**splits, "test": splits["validation"], "validation": splits["test"]}
    with pytest.raises(InputError, match=r"were .*test.txt \(test\), are"):
        prepare([], tmp_path / "data", CONFIG, swapped)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"days": 3}, "days is 3, but each split has its own files: leave days out"),
        ({"test_days": 1}, "test_days is 1, but each split has its own files"),
    ],
)
def test_a_split_by_days_next_to_given_splits_is_refused(
    settings, message, splits, tmp_path
):
    with pytest.raises(InputError, match=message):
        prepare([], tmp_path / "data", replace(CONFIG, **settings), splits)


def test_a_described_time_next_to_given_splits_is_refused(tmp_path):
    (tmp_path / "log.csv").write_text("clicked,user,time\n1,a,2024-05-01\n")
    columns = tmp_path / "columns.yaml"
    columns.write_text("label: clicked\ncategorical: [user]\nsplit: {time: time}\n")
    config = PrepareConfig(columns=columns)
    with pytest.raises(InputError, match=r"split is the column time by .*columns.yaml"):
        prepare([], tmp_path / "data", config, {"train": [tmp_path / "log.csv"]})


def test_files_that_make_no_splits_are_refused(splits, paths, tmp_path):
    output = tmp_path / "data"
    with pytest.raises(InputError, match="raw is missing, expected one or more logs"):
        prepare([], output, CONFIG)
    with pytest.raises(InputError, match="and train and validation and test name"):
        prepare([paths["first"]], output, CONFIG, splits)
    with pytest.raises(InputError, match="train is missing, expected the files of"):
        prepare([], output, CONFIG, {"test": splits["test"]})
    with pytest.raises(
        InputError, match=r"first\.txt is in train and in test, expected"
    ):
        prepare([], output, CONFIG, {**splits, "test": [paths["first"]]})
    (tmp_path / "empty.txt").touch()
    with pytest.raises(InputError, match="the files of train have no rows"):
        prepare([], output, CONFIG, {**splits, "train": [tmp_path / "empty.txt"]})
    assert not output.exists()


def test_output_inside_a_folder_of_a_split_is_refused(tmp_path, paths):
    with pytest.raises(InputError, match=r"is in .*, which is read as a log"):
        prepare([], tmp_path / "data", CONFIG, {"train": [tmp_path]})


@pytest.mark.slow
def test_spark_makes_the_same_data_set(splits, tmp_path):
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    prepare([], tmp_path / "local", CONFIG, splits)
    spark = replace(CONFIG, engine="spark", master="local[2]")
    prepare([], tmp_path / "spark", spark, splits)
    assert files_of(tmp_path / "spark") == files_of(tmp_path / "local")


def test_a_label_of_one_split_is_described_by_all(tmp_path):
    for name, label in (("train", "no"), ("validation", "maybe")):
        (tmp_path / f"{name}.csv").write_text(f"clicked,user\nyes,a\n{label},b\n")
    columns = tmp_path / "columns.yaml"
    columns.write_text("label: {name: clicked, positive: 'yes'}\ncategorical: [user]\n")
    splits = {name: [tmp_path / f"{name}.csv"] for name in ("train", "validation")}
    with pytest.raises(InputError, match="more than two values"):
        prepare([], tmp_path / "data", PrepareConfig(columns=columns), splits)


def test_the_schema_says_which_file_belongs_to_which_split(splits, tmp_path):
    prepare([], tmp_path / "data", CONFIG, splits)
    files = FeatureSchema.load(tmp_path / "data").source["files"]
    assert [(file["name"], file["split"]) for file in files] == [
        ("first.txt", "train"),
        ("second.txt", "train"),
        ("validation.txt", "validation"),
        ("test.txt", "test"),
    ]
    assert np.all([len(file["sha256"]) == 64 for file in files])
