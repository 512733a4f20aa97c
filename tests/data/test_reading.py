import dataclasses
import re
import shutil
from itertools import chain, product

import numpy as np
import pytest
import tensorflow as tf

from pipelines.ids.encoded_rows import EncodedRows
from pipelines.logs.columns import Columns
from pipelines.shards.tfrecord import ShardFormat, shard_path, write_shard
from tfdlrm.base.errors import InputError
from tfdlrm.data import reading_order
from tfdlrm.data.block_format import row_type
from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema

BLOCK_ROWS = 8
ROWS = {"train": (90, 75, 83, 8, 1, 64, 71), "test": (50, 40)}
"""Rows of each shard: several lengths, and more shards than are open at a time."""

COLUMNS = Columns("click", ("price", "age"), ("user", "item", "shop"))


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(reading_order, "WINDOW_ROWS", 60)


def write(directory, record_format, columns=COLUMNS) -> FeatureSchema:
    """Write a data set in which every row is different."""
    rng = np.random.default_rng(0)
    dtype = row_type(len(columns.dense_features), len(columns.single_hot))
    shards = []
    for split, sizes in ROWS.items():
        for index, num_rows in enumerate(sizes):
            rows = np.zeros(num_rows, dtype)
            for name in dtype.names:
                rows[name] = rng.integers(1_000_000, size=rows[name].shape)
            path = shard_path(split, index, len(sizes))
            shards.append(
                write_shard(
                    EncodedRows(rows),
                    *(directory, path),
                    ShardFormat(BLOCK_ROWS, record_format, columns),
                )
            )
    schema = FeatureSchema(
        label=columns.label,
        dense_features=columns.dense_features,
        categorical_features=tuple(
            CategoricalFeature(name, 1_000_000) for name in columns.single_hot
        ),
        block_rows=BLOCK_ROWS,
        record_format=record_format,
        shards=tuple(shards),
    )
    schema.save(directory)
    return schema


@pytest.fixture(scope="module")
def data_sets(tmp_path_factory):
    """The same rows in both formats."""
    data_sets_by_format = {}
    for record_format in ("block", "row"):
        directory = tmp_path_factory.mktemp(record_format)
        data_sets_by_format[record_format] = directory, write(directory, record_format)
    return data_sets_by_format


@pytest.fixture(params=["block", "row"])
def data_set(data_sets, request):
    return data_sets[request.param]


def as_rows(batch):
    """Return every row of a batch as one tuple."""
    features, label = batch
    columns = [label, features["dense_features"], features["categorical_features"]]
    return [tuple(row) for row in np.concatenate(columns, axis=1).tolist()]


def as_batches(dataset):
    return [as_rows(batch) for batch in dataset.as_numpy_iterator()]


def rows(dataset):
    """Return every row, in order."""
    return [*chain.from_iterable(as_batches(dataset))]


def stored_rows(data_sets, split):
    """Return the same by protocol buffers and NumPy, from records of one row."""
    directory, schema = data_sets["row"]
    result = []
    for shard in schema.split_shards(split):
        for record in tf.data.TFRecordDataset(str(directory / shard.path)):
            values = tf.train.Example.FromString(record.numpy()).features.feature
            floats = [
                values[name].float_list.value[0]
                for name in (COLUMNS.label, *COLUMNS.dense_features)
            ]
            ids = [values[name].int64_list.value[0] for name in COLUMNS.single_hot]
            result.append((*floats, *ids))
    return result


@pytest.mark.slow_variants
@pytest.mark.parametrize("batch_size", [1, 7, 8, 60, 100, 100_000])
def test_without_a_seed_rows_come_in_file_order(data_sets, data_set, batch_size):
    batches = as_batches(read_split(*data_set, "train", batch_size))
    file_rows = stored_rows(data_sets, "train")
    assert [*chain.from_iterable(batches)] == file_rows
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)


@pytest.mark.slow_variants
@pytest.mark.parametrize("batch_size", [1, 7, 8, 60, 61, 100, 100_000])
def test_a_shuffled_pass_reads_each_row_once(data_sets, data_set, batch_size):
    shuffled_rows = rows(read_split(*data_set, "train", batch_size, shuffle=(3, 0)))
    file_rows = stored_rows(data_sets, "train")
    assert shuffled_rows != file_rows
    assert sorted(shuffled_rows) == sorted(file_rows)


def test_both_formats_give_the_same_batches(data_sets):
    for shuffle in (None, (3, 1)):
        block, row = (
            as_batches(read_split(*data_sets[record_format], "train", 9, shuffle))
            for record_format in ("block", "row")
        )
        assert block == row


def test_a_window_mixes_rows_of_several_shards(data_sets):
    file_rows = stored_rows(data_sets, "train")
    positions = {row: number for number, row in enumerate(file_rows)}
    shard_ends = np.cumsum(ROWS["train"])
    (first_batch, *_) = as_batches(read_split(*data_sets["block"], "train", 60, (3, 0)))
    shards = np.searchsorted(
        shard_ends, [positions[row] for row in first_batch], side="right"
    )
    assert len(set(shards)) >= 3


@pytest.mark.slow_variants
def test_no_training_batch_is_small(data_set):
    def sizes(batch_size):
        return [
            len(b)
            for b in as_batches(read_split(*data_set, "train", batch_size, (0, 0)))
        ]

    assert sum(ROWS["train"]) == 392
    assert sizes(100) == [100, 100, 96, 96]
    assert sizes(56) == [56] * 7
    assert sizes(39) == [39] * 9 + [21, 20]
    assert sizes(100_000) == [392]


def test_seed_and_epoch_decide_the_order(data_set):
    batches, same_batches, next_epoch, other_seed = (
        as_batches(read_split(*data_set, "train", 10, shuffle))
        for shuffle in ((3, 0), (3, 0), (3, 1), (4, 0))
    )
    assert batches == same_batches
    assert batches != next_epoch
    assert batches != other_seed


def test_one_thread_gives_the_same_order(data_set):
    dataset = read_split(*data_set, "train", 10, (3, 0))
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    assert as_batches(dataset.with_options(options)) == as_batches(dataset)


def test_no_tuner_keeps_a_pass_that_is_over_waiting(data_set):
    batches = read_split(*data_set, "train", 10)
    assert batches.take(3).cache().options().autotune.enabled is False


def assert_goes_on(data_set, batch_size, shuffle, starts):
    batches = as_batches(read_split(*data_set, "train", batch_size, shuffle))
    for start in starts(len(batches)):
        later_batches = read_split(
            *data_set, "train", batch_size, shuffle, start_batch=start
        )
        assert as_batches(later_batches) == batches[start:]
        assert int(later_batches.cardinality()) == len(batches) - start


@pytest.mark.slow_variants
@pytest.mark.parametrize("shuffle", [None, (3, 1)])
@pytest.mark.parametrize("batch_size", [7, 100])
def test_a_pass_goes_on_where_it_was_left(data_set, batch_size, shuffle):
    def starts(num_batches):
        return 1, num_batches // 2, num_batches

    assert_goes_on(data_set, batch_size, shuffle, starts)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch_size", "shuffle"), product([7, 60, 100], [None, (3, 0), (3, 1)])
)
def test_a_pass_goes_on_wherever_it_was_left(data_set, batch_size, shuffle):
    assert_goes_on(data_set, batch_size, shuffle, lambda batches: range(batches + 1))


def test_shards_that_are_done_with_are_not_opened_again(data_sets, tmp_path):
    directory, schema = data_sets["block"]
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    batches = as_batches(read_split(copy, schema, "train", 60))
    later_batches = read_split(copy, schema, "train", 60, start_batch=3)
    (copy / schema.split_shards("train")[0].path).unlink()
    assert as_batches(later_batches) == batches[3:]


@pytest.mark.parametrize("start", [-1, 57])
def test_a_start_outside_of_the_pass_is_refused(data_set, start):
    with pytest.raises(InputError, match=f"start_batch is {start}, expected .* to 56"):
        read_split(*data_set, "train", 7, start_batch=start)


def test_batches_have_the_promised_shapes(data_set):
    batches = read_split(*data_set, "test", 64)
    features, label = batches.element_spec
    assert features["dense_features"].shape.as_list() == [None, 2]
    assert features["dense_features"].dtype == tf.float32
    assert features["categorical_features"].shape.as_list() == [None, 3]
    assert features["categorical_features"].dtype == tf.int32
    assert label.shape.as_list() == [None, 1]
    assert label.dtype == tf.float32
    assert int(batches.cardinality()) == 2


@pytest.mark.parametrize("record_format", ["block", "row"])
@pytest.mark.parametrize(
    "columns", [Columns("y", ("a",), ()), Columns("y", (), ("a", "b"))]
)
def test_there_may_be_no_features_of_a_kind(tmp_path, record_format, columns):
    schema = write(tmp_path, record_format, columns)
    (features, label), *_ = read_split(tmp_path, schema, "test", 64)
    assert features["dense_features"].shape == (64, len(columns.dense_features))
    assert features["categorical_features"].shape == (64, len(columns.single_hot))
    assert label.shape == (64, 1)


def test_an_unknown_or_empty_split_is_refused(data_set):
    directory, schema = data_set
    with pytest.raises(InputError, match="split is 'dev', expected one of train"):
        read_split(directory, schema, "dev", 64)
    empty = dataclasses.replace(schema, shards=())
    with pytest.raises(InputError, match="has no test rows"):
        read_split(directory, empty, "test", 64)


def test_a_missing_or_cut_shard_is_named(data_set, tmp_path):
    directory, schema = data_set
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    shard = copy / schema.split_shards("train")[0].path
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(InputError, match=f"{re.escape(str(shard))} has .* bytes"):
        read_split(copy, schema, "train", 64)
    shard.unlink()
    with pytest.raises(InputError, match=f"{re.escape(str(shard))} is missing"):
        read_split(copy, schema, "train", 64)
