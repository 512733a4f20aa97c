import dataclasses
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tfdlrm.data import read_split
from tfdlrm.errors import InputError
from tfdlrm.schema import FeatureSchema


@pytest.fixture
def schema(data_dir):
    return FeatureSchema.load(data_dir)


def rows(batches):
    """Every row as one tuple, in order."""
    return [
        tuple(row)
        for features, label in batches.as_numpy_iterator()
        for row in np.concatenate(
            [label, features["dense_features"], features["categorical_features"]], 1
        )
    ]


def stored_rows(data_dir, schema, split):
    """The same by plain protocol buffers and NumPy."""
    result = []
    for shard in schema.split_shards(split):
        for record in tf.data.TFRecordDataset(str(data_dir / shard.path)):
            block = tf.train.Example.FromString(record.numpy()).features.feature
            label, dense, ids = (
                np.frombuffer(block[name].bytes_list.value[0], dtype)
                for name, dtype in (
                    ("label", "<f4"),
                    ("dense_features", "<f4"),
                    ("categorical_features", "<i4"),
                )
            )
            columns = [label[:, None], dense.reshape(-1, 13), ids.reshape(-1, 26)]
            result += [tuple(row) for row in np.concatenate(columns, axis=1)]
    return result


@pytest.mark.parametrize("batch_size", [7, 2048, 100_000])
def test_without_a_seed_rows_come_in_file_order(data_dir, schema, batch_size):
    batches = read_split(data_dir, schema, "test", batch_size)
    assert rows(batches) == stored_rows(data_dir, schema, "test")


def test_a_shuffled_pass_reads_each_row_once(data_dir, schema):
    batches = read_split(data_dir, schema, "train", 100, shuffle=(3, 0))
    shuffled = rows(batches)
    stored = stored_rows(data_dir, schema, "train")
    assert shuffled != stored
    assert sorted(shuffled) == sorted(stored)


def test_no_training_batch_is_small(data_dir, schema):
    def sizes(batch_size):
        batches = read_split(data_dir, schema, "train", batch_size, (0, 0))
        return [len(label) for _, label in batches]

    assert sizes(1000) == [1000] * 4 + [572, 571]
    assert sizes(139) == [139] * 37
    assert sizes(100_000) == [5143]


def test_seed_and_epoch_decide_the_order(data_dir, schema):
    first, again, later, other = (
        rows(read_split(data_dir, schema, "train", 100, shuffle))
        for shuffle in ((3, 0), (3, 0), (3, 1), (4, 0))
    )
    assert first == again
    assert first != later
    assert first != other


def test_batches_have_the_promised_shapes(data_dir, schema):
    batches = read_split(data_dir, schema, "validation", 64)
    features, label = batches.element_spec
    assert features["dense_features"].shape.as_list() == [None, 13]
    assert features["dense_features"].dtype == tf.float32
    assert features["categorical_features"].shape.as_list() == [None, 26]
    assert features["categorical_features"].dtype == tf.int32
    assert label.shape.as_list() == [None, 1]
    assert int(batches.cardinality()) == -(-schema.num_rows("validation") // 64)


def test_an_unknown_or_empty_split_is_refused(data_dir, schema):
    with pytest.raises(InputError, match="split is 'dev', expected one of train"):
        read_split(data_dir, schema, "dev", 64)
    empty = dataclasses.replace(schema, shards=())
    with pytest.raises(InputError, match="has no test rows"):
        read_split(data_dir, empty, "test", 64)


def test_a_missing_or_cut_shard_is_named(data_dir, schema, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(data_dir, copy)
    shard = copy / schema.split_shards("train")[0].path
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(InputError, match=f"{shard} has .* bytes, expected"):
        read_split(copy, schema, "train", 64)
    shard.unlink()
    with pytest.raises(InputError, match=f"{shard} is missing"):
        read_split(copy, schema, "train", 64)
