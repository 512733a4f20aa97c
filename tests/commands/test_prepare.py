import fcntl
import json
import os
import re
import shutil
from collections import Counter
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tensorflow as tf

from pipelines.engines import local
from pipelines.logs import opening
from pipelines.logs.criteo_file import RawFile
from pipelines.prepare import PrepareCommand, prepare
from tests.support.prepared_runs import files_of
from tests.support.processes import run_command_line
from tests.support.raw_rows import make_rows, read_plainly, replace_field, write_rows
from tfdlrm.base import storage
from tfdlrm.base.command_line import parse
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data.schema import FeatureSchema

ROWS = make_rows(1000)
CONFIG = PrepareConfig(min_frequency=5)


@pytest.fixture
def raw(tmp_path):
    return write_rows(tmp_path / "train.txt", ROWS)


@pytest.fixture
def output(tmp_path):
    return tmp_path / "data"


def read_split(directory: Path, split: str) -> tuple[np.ndarray, ...]:
    """Labels, dense and categorical features of a split, in file order."""
    columns = {"label": [], "dense_features": [], "categorical_features": []}
    for shard in FeatureSchema.load(directory).split_shards(split):
        for record in tf.data.TFRecordDataset(str(directory / shard.path)):
            block = tf.train.Example.FromString(record.numpy()).features.feature
            for name, values in columns.items():
                number = np.int32 if name.startswith("cat") else np.float32
                (stored,) = block[name].bytes_list.value
                values.append(np.frombuffer(stored, number))
    label, dense, ids = (np.concatenate([[], *parts]) for parts in columns.values())
    return label, dense.reshape(-1, 13), ids.reshape(-1, 26).astype(int)


def plain_vocabularies(categories: list[list], min_frequency: int) -> list[dict]:
    vocabularies = []
    for column in zip(*categories, strict=True):
        counts = Counter(value for value in column if value is not None)
        frequent = [value for value in counts if counts[value] >= min_frequency]
        frequent.sort(key=lambda value, counts=counts: (-counts[value], value))
        ids = {value: position + 2 for position, value in enumerate(frequent)}
        vocabularies.append({None: 1, **ids})
    return vocabularies


def expected_rows(rows: list[bytes], vocabularies: list[dict]) -> tuple:
    labels, dense, categories = read_plainly(rows)
    ids = [
        [ids.get(value, 0) for ids, value in zip(vocabularies, row, strict=True)]
        for row in categories
    ]
    return labels, dense, np.array(ids)


def in_some_order(arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    """Rows as whole numbers, sorted."""
    labels, dense, ids = arrays
    table = np.column_stack([labels, np.rint(np.expm1(dense)), ids])
    return table[np.lexsort(table.T)]


def assert_holds(directory: Path, rows: list[bytes], ends: tuple[int, int]) -> None:
    """That the data set at `directory` is what `rows`, cut at `ends`, should give."""
    vocabularies = plain_vocabularies(read_plainly(rows[: ends[0]])[2], 5)
    expected = expected_rows(rows, vocabularies)
    schema = FeatureSchema.load(directory)
    assert schema.vocabulary_sizes == [len(ids) + 1 for ids in vocabularies]
    for split, part in [
        ("train", slice(ends[0])),
        ("validation", slice(*ends)),
        ("test", slice(ends[1], None)),
    ]:
        actual = read_split(directory, split)
        in_split = tuple(values[part] for values in expected)
        if split == "train":
            np.testing.assert_array_equal(
                in_some_order(actual), in_some_order(in_split)
            )
        else:
            np.testing.assert_array_equal(actual[0], in_split[0])
            np.testing.assert_allclose(actual[1], in_split[1], rtol=1e-6)
            np.testing.assert_array_equal(actual[2], in_split[2])


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


def test_training_rows_are_shuffled_over_several_shards(tmp_path, output):
    rows = make_rows(200) * 60
    schema = prepare([write_rows(tmp_path / "a", rows)], output, CONFIG)
    shards = [shard.path for shard in schema.split_shards("train")]
    assert shards == [f"train/part-{k:05d}-of-00004.tfrecord" for k in range(4)]
    assert_holds(output, rows, (10286, 11143))
    labels = read_split(output, "train")[0]
    assert not np.array_equal(labels, read_plainly(rows[: len(labels)])[0])


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


def test_a_second_run_does_nothing(raw, output, capsys, monkeypatch):
    schema = prepare([raw], output, CONFIG)
    capsys.readouterr()
    monkeypatch.setattr(local, "run", None)
    assert prepare([raw], output, CONFIG) == schema
    assert "already prepared" in capsys.readouterr().out


def test_another_input_or_setting_is_refused_by_name(raw, output, tmp_path):
    prepare([raw], output, CONFIG)
    before = files_of(output)
    for files, config, message in [
        ([raw], PrepareConfig(), "min_frequency was 5, is 10"),
        ([raw], PrepareConfig(min_frequency=5, days=3), "days was null, is 3"),
        (
            [raw, write_rows(tmp_path / "b", ROWS)],
            CONFIG,
            "the raw files were train.txt, are train.txt, b",
        ),
    ]:
        with pytest.raises(InputError, match=f"{message}; give another directory"):
            prepare(files, output, config)
    write_rows(raw, [*ROWS[1:], ROWS[0]])
    os.utime(raw, (0, 0))
    with pytest.raises(InputError, match=r"train.txt has other contents now"):
        prepare([raw], output, CONFIG)
    write_rows(raw, ROWS[:-1])
    with pytest.raises(InputError, match=r"train.txt had [\d,]+ bytes, has"):
        prepare([raw], output, CONFIG)
    assert files_of(output) == before


def test_a_touched_or_copied_input_is_still_the_same(raw, output, monkeypatch):
    schema = prepare([raw], output, CONFIG)
    monkeypatch.setattr(local, "run", None)
    os.utime(raw, (0, 0))
    assert prepare([raw], output, CONFIG) == schema
    (raw.parent / "copy").mkdir()
    copy = shutil.copyfile(raw, raw.parent / "copy" / raw.name)
    assert prepare([copy], output, CONFIG) == schema


def test_the_memory_budget_changes_nothing_in_the_data_set(raw, output):
    small = replace(CONFIG, memory_budget="1.5 GiB")
    schema = prepare([raw], output, small)
    assert prepare([raw], output, CONFIG) == schema


@pytest.mark.parametrize("budget", ["8", "8 gb", "-8GB", "lots", "999MB", ""])
def test_a_memory_budget_is_a_number_with_a_unit(budget):
    with pytest.raises(InputError, match=r"memory_budget is .*, expected"):
        PrepareConfig(memory_budget=budget)


def test_a_damaged_data_set_is_not_used_again(raw, output):
    schema = prepare([raw], output, CONFIG)
    shard = output / schema.shards[0].path
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(InputError, match="the data set is damaged"):
        prepare([raw], output, CONFIG)
    shard.unlink()
    with pytest.raises(InputError, match="is missing"):
        prepare([raw], output, CONFIG)


def test_an_output_that_is_something_else_is_refused(raw, output):
    output.mkdir()
    prepare([raw], output, CONFIG)  # an empty directory is taken
    (output / "schema.json").unlink()
    with pytest.raises(InputError, match="is not a data set"):
        prepare([raw], output, CONFIG)
    with pytest.raises(InputError, match="is a file"):
        prepare([raw], raw, CONFIG)


def test_missing_parents_of_the_output_are_made(raw, tmp_path):
    prepare([raw], tmp_path / "a" / "b", CONFIG)
    assert (tmp_path / "a" / "b" / "schema.json").exists()


@pytest.mark.parametrize("stage", ["split_rows", "write_counted", "write_shard"])
@pytest.mark.parametrize(
    ("failure", "seen", "message"),
    [
        (OSError(28, "No space left"), InputError, "cannot be written: No space left"),
        (RuntimeError("a defect"), RuntimeError, "a defect"),
    ],
)
def test_a_failure_leaves_nothing(
    raw, output, monkeypatch, stage, failure, seen, message
):
    def fail(*_args, **_named):
        raise failure

    monkeypatch.setattr(local, stage, fail)
    with pytest.raises(seen, match=message):
        prepare([raw], output, CONFIG)
    assert [path.name for path in output.parent.iterdir()] == ["train.txt"]


def test_what_another_version_left_is_removed(raw, output):
    stale = output.with_name(".data.partial")
    (stale / "work").mkdir(parents=True)
    (stale / "work" / "000000.arrow").write_bytes(b"half")
    (stale / "train").mkdir()
    prepare([raw], output, CONFIG)
    assert not stale.exists()
    assert_holds(output, ROWS, (858, 929))


def test_two_runs_do_not_build_the_same_data_set_at_once(raw, output):
    building = output.with_name(".data.partial")
    building.mkdir()
    other = os.open(building, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(InputError, match="another process"):
        prepare([raw], output, CONFIG)
    os.close(other)
    prepare([raw], output, CONFIG)


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


@pytest.mark.parametrize(
    ("error", "expected"),
    [(OSError(5, "no such bucket"), InputError), (KeyboardInterrupt(), None)],
)
def test_an_upload_that_breaks_off_leaves_nothing(
    raw, output, monkeypatch, error, expected
):
    """The remote place is a directory of this machine."""
    monkeypatch.setattr(storage, "is_remote", lambda path: path == output)
    copyfileobj = shutil.copyfileobj

    def break_off(read, written, size):
        copyfileobj(read, written, size)
        if list(output.rglob("part-*")):
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", break_off)
        with pytest.raises(expected or type(error)) as raised:
            prepare([raw], output, CONFIG)
    assert not output.exists()
    if expected:
        assert f"{output} cannot be read or written: no such bucket" in str(
            raised.value
        )
    schema = prepare([raw], output, CONFIG)
    assert schema.check_shards(output)


def test_an_interrupt_before_the_upload_promises_nothing(
    raw, output, monkeypatch, capsys
):
    monkeypatch.setattr(storage, "is_remote", lambda path: path == output)

    def stop(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "make_schema", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare([raw], output, CONFIG)
    assert "continues from there" not in capsys.readouterr().err
    assert list(output.parent.iterdir()) == [raw]


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
    counted = pl.read_csv(
        kaggle_rows.read_bytes(), separator="\t", has_header=False, quote_char=None
    )
    rows = [schema.num_rows(each) for each in ("train", "validation", "test")]
    assert rows == [45_408, 3_784, 3_784]
    training = counted.head(rows[0])
    for position, size in enumerate(schema.vocabulary_sizes):
        counts = Counter(training[:, 14 + position].drop_nulls())
        assert size == 2 + sum(count >= 5 for count in counts.values())
    labels = [read_split(output, split)[0] for split in ("validation", "test")]
    np.testing.assert_array_equal(
        np.concatenate(labels), counted[:, 0].tail(3_784 * 2).to_numpy()
    )
