"""Blocks and shards of a data set that means something else are refused when read."""

import re
import shutil
from dataclasses import replace

import pytest
import tensorflow as tf

from pipelines.prepare import prepare
from pipelines.verify import verify
from tests.support.shop import evaluate
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data.block_format import ORIGIN
from tfdlrm.data.records import read_records
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.raw_rows import RawFeatures
from tfdlrm.streaming.batches import Batches
from tfdlrm.streaming.events import Chunk


def first_block(data_dir):
    schema = FeatureSchema.load(data_dir)
    (_, payload), *_ = read_records(data_dir / schema.split_shards("train")[0].path)
    return payload


def batches_of(data_dir, on_bad_event="stop"):
    schema = FeatureSchema.load(data_dir)
    features_of = RawFeatures.load(data_dir, schema)
    return Batches("clicks", schema, features_of, 4, on_bad_event)


@pytest.mark.parametrize("data", ["other", "zero"])
def test_a_stream_takes_no_block_of_a_data_set_that_means_something_else(shop, data):
    chunk = Chunk(0, 7, [first_block(shop / data)])
    with pytest.raises(InputError, match="clicks partition 0 offset 7: ") as error:
        list(batches_of(shop / "data").add(chunk))
    assert "its rows are of another data set, whose ids or labels" in str(error.value)
    (batch,) = batches_of(shop / "data", "skip").add(chunk)
    assert (len(batch.labels), batch.offsets, batch.skipped) == (0, {0: 8}, 1)


def test_a_stream_takes_blocks_that_mean_the_same(shop, capsys):
    chunk = Chunk(0, 7, [first_block(shop / "one"), first_block(shop / "data")])
    for model in ("data", "rows"):
        first_batch, second_batch = batches_of(shop / model).add(chunk)
        assert len(first_batch.labels) == len(second_batch.labels) > 0
    assert capsys.readouterr().out == ""


def without_mark(payload):
    example = tf.train.Example.FromString(payload)
    assert example.features.feature.pop(ORIGIN) is not None
    return example.SerializeToString()


def test_blocks_of_an_earlier_release_are_taken_with_one_line(shop, capsys):
    block = without_mark(first_block(shop / "data"))
    batches = batches_of(shop / "data")
    new_batches = list(batches.add(Chunk(0, 7, [block, block])))
    assert [len(batch.labels) > 0 for batch in new_batches] == [True, True]
    (line,) = capsys.readouterr().out.splitlines()
    assert "clicks has block records without the fingerprint" in line


@pytest.mark.slow_variants
@pytest.mark.parametrize("record_format", ["block", "row", "parquet"])
def test_a_shard_of_another_data_set_is_refused_where_it_is_read(
    shop, tmp_path, record_format
):
    if record_format == "parquet":
        pytest.importorskip("tensorflow_io")
    settings = PrepareConfig(min_frequency=1, record_format=record_format)
    for name in ("same", "zero"):
        columns = shop / f"{name}.yaml"
        prepare(
            [shop / "week1.csv"], tmp_path / name, replace(settings, columns=columns)
        )
    (shard,) = FeatureSchema.load(tmp_path / "same").split_shards("train")
    evaluate(shop / "model", tmp_path / "same")
    own_shard, other_shard = (tmp_path / name / shard.path for name in ("same", "zero"))
    assert own_shard.stat().st_size == other_shard.stat().st_size
    shutil.copy(other_shard, own_shard)
    with pytest.raises(InputError, match=re.escape(str(own_shard))):
        evaluate(shop / "model", tmp_path / "same")


def test_verify_names_a_block_of_another_data_set(shop, tmp_path):
    data = shutil.copytree(shop / "data", tmp_path / "data")
    schema = FeatureSchema.load(data)
    assert verify(data) == []
    path = schema.split_shards("train")[0].path
    shutil.copy(shop / "zero" / path, data / path)
    (problem,) = verify(data)
    assert f"{data / path}, record 0: its rows are of another data set" in problem
