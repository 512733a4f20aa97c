import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tensorflow as tf

from pipelines.verify import verify
from tests.support.processes import run_command_line
from tfdlrm.base.errors import InputError
from tfdlrm.data.schema import FeatureSchema


@pytest.fixture
def data(data_dir, tmp_path):
    """A data set that a test may damage."""
    return Path(shutil.copytree(data_dir, tmp_path / "data"))


@pytest.fixture
def shard(data):
    return data / FeatureSchema.load(data).shards[0].path


def change_record(shard: Path, number: int, change) -> None:
    """Change the features of a record, and write it again with good checksums."""
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(shard))]
    example = tf.train.Example.FromString(records[number])
    change(example.features.feature)
    records[number] = example.SerializeToString()
    with tf.io.TFRecordWriter(str(shard)) as writer:
        for record in records:
            writer.write(record)


def bits_flipped(path):
    """Flip one bit of a file at a time; yields after each."""
    contents = path.read_bytes()
    for position in np.random.default_rng(0).integers(len(contents), size=20):
        damaged = bytearray(contents)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        yield


def test_a_whole_data_set_has_no_problem(data):
    assert verify(data) == []


def test_every_flipped_byte_is_found_with_file_and_record(data, shard):
    for _ in bits_flipped(shard):
        (problem,) = verify(data)
        assert problem.startswith(f"{shard}, record ")


def test_a_truncated_missing_or_strange_file_is_found(data, shard):
    contents = shard.read_bytes()
    shard.write_bytes(contents[:-1])
    assert [str(shard) in problem for problem in verify(data)] == [True]
    shard.unlink()
    assert verify(data) == [f"{shard} cannot be read: No such file or directory"]
    shard.write_bytes(b"")
    assert "holds 0 rows, expected" in verify(data)[0]
    shard.write_bytes(contents)
    strange = shard.with_name("part-00099-of-00004.tfrecord")
    strange.write_bytes(contents)
    (problem,) = verify(data)
    assert problem.startswith(f"{strange} is not in the schema")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("label", b"\0" * 8, "dense_features has"),
        ("dense_features", b"", "dense_features has 0 bytes, expected"),
        ("categorical_features", None, "categorical_features has the id -1"),
        ("other", b"", "it holds categorical_features, dense_features, label, other"),
    ],
)
def test_records_that_do_not_fit_the_schema_are_found(
    data, shard, name, value, message
):
    def change(features):
        value_list = features[name].bytes_list.value
        new = b"\xff" * len(value_list[0]) if value is None else value
        del value_list[:]
        value_list.append(new)

    change_record(shard, 0, change)
    (problem,) = verify(data)
    assert problem.startswith(f"{shard}, record 0: {message}")


def test_other_rows_with_good_records_are_found_by_their_checksum(data, shard):
    def change(features):
        labels = np.frombuffer(features["label"].bytes_list.value[0], np.float32)
        features["label"].bytes_list.value[0] = (1 - labels).tobytes()

    change_record(shard, 0, change)
    (problem,) = verify(data)
    assert "its records are undamaged, but are not those that were written" in problem


def test_something_else_in_a_record_is_no_example(data, shard):
    with tf.io.TFRecordWriter(str(shard)) as writer:
        writer.write(b"not an Example")
    assert verify(data) == [f"{shard}, record 0: it is not a tf.train.Example"]


def test_a_vocabulary_that_does_not_fit_is_found(data):
    paths = [data / "vocabulary" / f"C{number}.parquet" for number in (1, 2, 3)]
    paths[0].unlink()
    paths[1].write_bytes(b"no")
    pl.read_parquet(paths[2]).head(1).write_parquet(paths[2])
    for problem, path in zip(verify(data), paths, strict=True):
        assert str(path) in problem


def test_a_flipped_bit_of_a_vocabulary_is_found(data):
    path = data / "vocabulary" / "C3.parquet"
    for _ in bits_flipped(path):
        (problem,) = verify(data)
        assert problem.startswith(f"{path} has the checksum ")


def test_a_data_set_without_checksums_of_vocabularies_is_read(data):
    fields = json.loads((data / "schema.json").read_text())
    assert len(fields.pop("vocabularies")) == 26
    del fields["checksum"]
    (data / "schema.json").write_text(json.dumps(fields))
    assert verify(data) == []


def test_a_directory_without_schema_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no schema\.json"):
        verify(tmp_path)


def test_a_schema_that_counts_other_rows_is_found(data, shard):
    schema = FeatureSchema.load(data)
    first = replace(schema.shards[0], rows=schema.shards[0].rows + 1)
    replace(schema, shards=(first, *schema.shards[1:])).save(data)
    (problem,) = verify(data)
    assert problem.startswith(f"{shard} holds {first.rows - 1:,} rows, expected")


@pytest.mark.slow
def test_the_command_prints_problems_and_exits_with_2(data, shard):
    process = run_command_line(f"python -m pipelines.verify {data}")
    assert (process.returncode, process.stderr) == (0, "")
    assert f"{data} is whole: 6,000 rows" in process.stdout.splitlines()[-1]
    shard.write_bytes(shard.read_bytes()[:-1])
    process = run_command_line(f"python -m pipelines.verify --data_dir {data}")
    assert process.returncode == 2
    assert f"{shard}, record" in process.stdout
    assert process.stderr.count("\n") == 1
    assert "is damaged, 1 problem: remove it" in process.stderr
