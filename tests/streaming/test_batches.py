"""From the events of a stream to batches."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from pipelines.logs.columns import Columns
from pipelines.logs.criteo_file import RawFile
from pipelines.logs.json_rows import JsonRows
from tests.support.json_events import as_json
from tfdlrm.base.errors import InputError
from tfdlrm.data.reading import read_split
from tfdlrm.data.records import read_records
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.raw_rows import RawFeatures
from tfdlrm.streaming.batches import Batches
from tfdlrm.streaming.events import Chunk


@pytest.fixture(scope="module")
def events(raw_file):
    return as_json(raw_file.read_text().splitlines()[:500])


def test_rows_as_json_are_those_of_the_text(events, raw_file):
    frame, bad = JsonRows(Columns.criteo()).read(events)
    assert not bad
    (expected, *_) = RawFile(raw_file)
    assert frame.equals(expected[:500].select(frame.columns))


def test_rows_of_ones_own_columns_are_read_as_json():
    columns = Columns(
        "bought", ("price",), ("user",), ("tags",), positive="yes", separators=("|",)
    )
    message = b'{"bought": "yes", "price": 2.5, "user": 7, "tags": "a|b", "more": 0}'
    frame, bad = JsonRows(columns).read([message, b'{"bought": "no", "tags": ["x"]}'])
    assert frame.to_dicts() == [
        {"bought": 1, "price": 2.5, "user": "7", "tags": ["a", "b"]},
        {"bought": 0, "price": None, "user": None, "tags": ["x"]},
    ]
    listed = Columns("bought", (), (), ("tags",), separators=(None,))
    frame, bad = JsonRows(listed).read([b'{"bought": 1, "tags": ["x", 3]}'])
    assert (frame["tags"].to_list(), bad) == ([["x", "3"]], {})


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (b"not json", "it begins with b'not json'"),
        (b"[1]", "it begins with b'[1]'"),
        (b'{"I1": 1}', "'label' is missing, expected 0 or 1"),
        (b'{"label": 2}', "'label' is 2, expected 0 or 1"),
        (b'{"label": 1, "I1": "x"}', "'I1' is 'x', expected a whole number or nothing"),
        (b'{"label": 1, "C1": "zz"}', "'C1' is 'zz', expected a hash such as"),
        (b'{"label": 1, "I1": [1, 2]}', "'I1' is [1, 2], expected one value"),
        (b'{"label": {"is": 1}}', "'label' is {'is': 1}, expected one value"),
        (b'{"label": 1, "C1": "\\ud800"}', "it begins with"),
        (b"[" * 10**5, "it begins with b'[["),
    ],
)
def test_a_bad_event_is_told_by_its_place_or_skipped(
    data_dir, events, message, problem
):
    schema = FeatureSchema.load(data_dir)
    features_of = RawFeatures.load(data_dir, schema)
    chunk = Chunk(3, 40, [events[0], message, events[1]])
    with pytest.raises(InputError, match="clicks partition 3 offset 41: ") as caught:
        list(Batches("clicks", schema, features_of, 3).add(chunk))
    assert problem in str(caught.value)
    (batch,) = Batches("clicks", schema, features_of, 3, "skip").add(chunk)
    assert (len(batch.labels), batch.offsets, batch.skipped) == (2, {3: 43}, 1)


def test_batches_commit_only_what_they_hold(data_dir, events):
    schema = FeatureSchema.load(data_dir)
    batches = Batches("clicks", schema, RawFeatures.load(data_dir, schema), 4)
    assert list(batches.add(Chunk(0, 10, events[:3]))) == []
    first_batch, second_batch = batches.add(Chunk(1, 0, events[3:8]))
    assert (first_batch.offsets, second_batch.offsets) == ({0: 13, 1: 1}, {1: 5})
    assert list(batches.flush()) == []
    assert first_batch.labels.shape == (4, 1)
    assert first_batch.features["categorical_features"].shape == (4, 26)


@pytest.mark.parametrize("shards", ["block", "row", "parquet"])
def test_a_block_record_is_a_batch_as_training_reads_it(data_dir, shards):
    schema = FeatureSchema.load(data_dir)
    shard = schema.split_shards("test")[0]
    (_, record), *_ = read_records(data_dir / shard.path)
    trained_on = replace(schema, record_format=shards)
    batches = Batches("clicks", trained_on, RawFeatures.load(data_dir, schema), 4)
    (batch,) = batches.add(Chunk(0, 7, [record]))
    ((features, labels), *_) = read_split(data_dir, schema, "test", shard.rows)
    np.testing.assert_array_equal(batch.labels, labels)
    for name, values in features.items():
        np.testing.assert_array_equal(batch.features[name], values)
    assert batch.offsets == {0: 8}
    with pytest.raises(InputError, match="clicks partition 0 offset 8: "):
        list(batches.add(Chunk(0, 8, [b"\n\x01\x02"])))


def test_an_object_may_begin_with_white_space(data_dir, events):
    schema = FeatureSchema.load(data_dir)
    features_of = RawFeatures.load(data_dir, schema)
    spaced = [
        space + event for space in (b"\n", b" \r\n\t", b"\n\n") for event in events
    ]
    (batch,) = Batches("clicks", schema, features_of, 3 * len(events)).add(
        Chunk(0, 0, spaced)
    )
    (plain,) = Batches("clicks", schema, features_of, len(events)).add(
        Chunk(0, 0, events)
    )
    for name, values in plain.features.items():
        np.testing.assert_array_equal(batch.features[name], np.tile(values, (3, 1)))
    np.testing.assert_array_equal(batch.labels, np.tile(plain.labels, (3, 1)))


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("label", 2.0, "a label is 2, expected 0 or 1"),
        ("label", np.nan, "a label is nan, expected 0 or 1"),
        ("dense_features", np.inf, "a dense feature is not finite"),
    ],
)
def test_a_block_of_other_numbers_is_bad(data_dir, name, value, problem):
    schema = FeatureSchema.load(data_dir)
    (_, record), *_ = read_records(data_dir / schema.split_shards("test")[0].path)
    example = tf.train.Example.FromString(record)
    numbers = np.frombuffer(example.features.feature[name].bytes_list.value[0], "<f4")
    changed = np.where(np.arange(len(numbers)) == 3, np.float32(value), numbers)
    example.features.feature[name].bytes_list.value[0] = changed.tobytes()
    chunk = Chunk(1, 5, [example.SerializeToString()])
    features_of = RawFeatures.load(data_dir, schema)
    with pytest.raises(InputError, match="clicks partition 1 offset 5: ") as caught:
        list(Batches("clicks", schema, features_of, 4).add(chunk))
    assert problem in str(caught.value)
    (batch,) = Batches("clicks", schema, features_of, 4, "skip").add(chunk)
    assert (len(batch.labels), batch.offsets, batch.skipped) == (0, {1: 6}, 1)
