"""A data set that is prepared is what plain Python makes of the rows."""

import json
import re
from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipelines.logs import opening
from pipelines.logs.criteo_file import RawFile
from pipelines.prepare import PrepareCommand, prepare
from tests.support.plain_data_sets import CONFIG, ROWS, assert_holds, read_split
from tests.support.prepared_runs import files_of
from tests.support.processes import run_command_line
from tests.support.raw_rows import make_rows, read_plainly, replace_field, write_rows
from tfdlrm.base.command_line import parse
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.config.number_settings import NUMBER_SETTINGS
from tfdlrm.data.schema import FeatureSchema


def test_a_data_set_is_what_plain_python_makes_of_the_rows(raw, output):
    schema = prepare([raw], output, CONFIG)
    # 1,000 rows in 7 days of 143 or 142: six days, then halves of the last.
    assert_holds(output, ROWS, (858, 929))
    assert schema == FeatureSchema.load(output)
    assert [schema.num_rows(split) for split in ("train", "validation", "test")] == [
        858,
        71,
        71,
    ]
    for shard in schema.shards:
        assert (output / shard.path).stat().st_size == shard.bytes
    assert schema.min_frequency == 5
    assert schema.split["rows_per_day"] == [143] * 6 + [142]
    settings = asdict(CONFIG)
    for name in ("memory_budget", "engine", "master"):  # have no effect on the bytes
        del settings[name]
    for name in NUMBER_SETTINGS:  # none is used: the data set is as before they were
        del settings[name]
    assert schema.source["settings"] == settings
    assert [file["name"] for file in schema.source["files"]] == ["train.txt"]
    assert str(raw.parent) not in (output / "schema.json").read_text()


@pytest.mark.usefixtures("pictures")
def test_nothing_but_the_data_set_is_left(raw, output):
    prepare([raw], output, CONFIG)
    assert {path.name for path in output.iterdir()} == {
        *("schema.json", "vocabulary", "rare_values", "train", "validation", "test"),
        *("coverage.json", "coverage.md", "coverage.png"),
    }
    for folder in ("vocabulary", "rare_values"):
        assert len(list((output / folder).iterdir())) == 26
    assert {path.name for path in output.parent.iterdir()} == {"train.txt", "data"}


@pytest.mark.slow
def test_training_rows_are_shuffled_over_several_shards(tmp_path, output):
    rows = make_rows(200) * 60
    schema = prepare([write_rows(tmp_path / "a", rows)], output, CONFIG)
    shards = [shard.path for shard in schema.split_shards("train")]
    assert shards == [f"train/part-{k:05d}-of-00004.tfrecord" for k in range(4)]
    assert_holds(output, rows, (10286, 11143))
    labels = read_split(output, "train")[0]
    assert not np.array_equal(labels, read_plainly(rows[: len(labels)])[0])


@pytest.mark.slow
def test_large_splits_keep_their_order_over_several_shards(raw, output, monkeypatch):
    monkeypatch.setattr("pipelines.stages.buckets.MAX_SHARD_ROWS", 30)
    monkeypatch.setattr(opening, "RawFile", partial(RawFile, chunk_bytes=4000))
    schema = prepare([raw], output, CONFIG)
    rows = [shard.rows for shard in schema.split_shards("validation")]
    assert rows == [30, 30, 11]
    assert_holds(output, ROWS, (858, 929))


def test_the_same_seed_gives_the_same_bytes_and_another_another_order(raw, tmp_path):
    schemas = [
        prepare([raw], tmp_path / name, PrepareConfig(min_frequency=5, seed=seed))
        for name, seed in [("a", 0), ("b", 0), ("c", 1)]
    ]
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert schemas[0].shards[0].sha256 != schemas[2].shards[0].sha256
    assert schemas[0].split_shards("test") == schemas[2].split_shards("test")
    assert_holds(tmp_path / "c", ROWS, (858, 929))


def test_several_files_are_a_day_each(tmp_path, output):
    raw = [
        write_rows(tmp_path / name, rows)
        for name, rows in [
            ("day_0.gz", ROWS[:500]),
            ("day_1", ROWS[500:901]),
            ("day_2", ROWS[901:]),
        ]
    ]
    schema = prepare(raw, output, CONFIG)
    assert schema.split["rows_per_day"] == [500, 401, 99]
    assert_holds(output, ROWS, (901, 951))  # of 99 rows, 50 and 49


def test_bad_rows_are_skipped_counted_and_reported(tmp_path, output, capsys):
    bad = replace_field(ROWS[0], 3, b"many")
    raw = write_rows(tmp_path / "train.txt", [*ROWS[:500], bad, b"", *ROWS[500:]])
    with pytest.raises(InputError, match=r"train.txt line 501: column 3 \(I2\)"):
        prepare([raw], output, CONFIG)
    assert not output.exists()
    prepare([raw], output, PrepareConfig(min_frequency=5, on_bad_row="skip"))
    assert_holds(output, ROWS, (858, 929))
    report = capsys.readouterr().out
    assert "skipped 2 malformed rows" in report
    assert f"1 blank line, first {raw} line 502" in report


def test_a_malformed_row_says_how_to_leave_such_rows_out(tmp_path, output):
    bad = write_rows(tmp_path / "bad.txt", [*ROWS, b"1\tx"])
    expected = r"fix the line, or leave such lines out with on_bad_row skip$"
    with pytest.raises(InputError, match=expected):
        prepare([bad], output, CONFIG)


@pytest.mark.parametrize("budget", ["8", "8 gb", "-8GB", "lots", "999MB", ""])
def test_a_memory_budget_is_a_number_with_a_unit(budget):
    with pytest.raises(InputError, match=r"memory_budget is .*, expected"):
        PrepareConfig(memory_budget=budget)


def test_missing_parents_of_the_output_are_made(raw, tmp_path):
    prepare([raw], tmp_path / "a" / "b", CONFIG)
    assert (tmp_path / "a" / "b" / "schema.json").exists()


def test_rows_without_label_are_refused(tmp_path, raw, output):
    unlabelled = [row.partition(b"\t")[2] for row in ROWS[:9]]
    path = write_rows(tmp_path / "test.txt", unlabelled)
    with pytest.raises(InputError, match=r"no label.*python -m tfdlrm\.predict"):
        prepare([raw, path], output, CONFIG)


def test_a_file_without_a_good_row_is_refused_when_skipping(tmp_path, raw, output):
    bad = write_rows(tmp_path / "c", [b"x"])
    with pytest.raises(InputError, match="has no well-formed row"):
        prepare([raw, bad], output, PrepareConfig(on_bad_row="skip"))


@pytest.mark.parametrize(
    "config",
    [PrepareConfig(days=1), PrepareConfig(days=2, validation_days=1.5, test_days=0.5)],
)
def test_holding_out_all_days_is_refused(raw, output, config):
    with pytest.raises(InputError, match=r"hold out .* of .* days"):
        prepare([raw], output, config)


def test_parts_may_be_left_out(raw, output):
    config = PrepareConfig(min_frequency=5, validation_days=0, test_days=0)
    schema = prepare([raw], output, config)
    assert schema.num_rows("train") == len(ROWS)
    assert schema.split_shards("validation") == schema.split_shards("test") == []


@pytest.mark.slow
def test_the_command_prepares_and_says_what_comes_next(raw, output):
    process = run_command_line(
        f"python -m pipelines.prepare --raw {raw} --output {output} "
        "--min_frequency 5 --days 4"
    )
    assert (process.returncode, process.stderr) == (0, "")
    lines = process.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines[:4]] == [
        *("read rows", "count values", "encode rows", "write shards")
    ]
    assert re.search(r"train +750 rows in 1 file +\d\d\.\d\d% positive", process.stdout)
    assert lines[-1] == f"next: python -m tfdlrm.train --data_dir {output}"
    assert json.loads((output / "schema.json").read_text())["min_frequency"] == 5


def test_the_command_refuses_bad_input_in_one_line(tmp_path, output):
    process = run_command_line(
        f"python -m pipelines.prepare --raw {tmp_path}/missing.txt --output {output}"
    )
    assert process.returncode == 2
    assert process.stderr.startswith(f"error: {tmp_path}/missing.txt cannot be read")
    assert process.stderr.count("\n") == 1


def test_the_command_takes_several_files_and_a_settings_file(tmp_path):
    (tmp_path / "settings.yaml").write_text("min_frequency: 3\nseed: 4\n")
    command = parse(
        PrepareCommand,
        "pipelines.prepare",
        [
            *("--config", str(tmp_path / "settings.yaml"), "--seed", "5"),
            *("--output", "data", "--raw", "a", "b"),
        ],
        several="raw",
    )
    assert command.raw == (Path("a"), Path("b"))
    assert (command.output, command.min_frequency, command.seed) == (Path("data"), 3, 5)


def test_real_rows_are_prepared(output, kaggle_rows):
    schema = prepare([kaggle_rows], output, CONFIG)
    raw_rows = pl.read_csv(
        kaggle_rows.read_bytes(), separator="\t", has_header=False, quote_char=None
    )
    rows = [schema.num_rows(split) for split in ("train", "validation", "test")]
    assert rows == [45_408, 3_784, 3_784]
    training = raw_rows.head(rows[0])
    for position, size in enumerate(schema.vocabulary_sizes):
        counts = Counter(training[:, 14 + position].drop_nulls())
        assert size == 2 + sum(count >= 5 for count in counts.values())
    labels = [read_split(output, split)[0] for split in ("validation", "test")]
    np.testing.assert_array_equal(
        np.concatenate(labels), raw_rows[:, 0].tail(3_784 * 2).to_numpy()
    )
