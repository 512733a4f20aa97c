"""Data sets in Parquet: the same batches as those of TFRecords."""

import re
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pyarrow.parquet as pa_parquet
import pytest

from pipelines.prepare import prepare
from pipelines.shards import parquet_shard
from pipelines.verify import verify
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data import parquet_blocks
from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import FeatureSchema

pytestmark = pytest.mark.skipif(
    find_spec("tensorflow_io") is None, reason="tensorflow-io is not installed"
)


@pytest.fixture(scope="module")
def parquet(raw_file, tmp_path_factory):
    """The data set of `data_dir`, in several row groups."""
    directory = tmp_path_factory.mktemp("parquet") / "data"
    config = PrepareConfig(min_frequency=3, record_format="parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_shard, "ROW_GROUP_ROWS", 1000)
        prepare([raw_file], directory, config)
    return directory


PASSES = [("test", None, 0), ("train", (0, 0), 0), ("train", (0, 1), 7)]
ROWS_AT_ONCE = [700, 1000, 2**16]


@pytest.mark.parametrize(
    ("split", "shuffle", "start", "rows_at_once"),
    [
        pytest.param(*pass_settings, rows, marks=[] if i == j else pytest.mark.slow)
        for i, pass_settings in enumerate(PASSES)
        for j, rows in enumerate(ROWS_AT_ONCE)
    ],
)
def test_the_batches_are_those_of_tfrecords(
    parquet, data_dir, split, shuffle, start, rows_at_once, monkeypatch
):
    monkeypatch.setattr(parquet_blocks, "ROW_GROUP_ROWS", rows_at_once)
    parquet_batches, tfrecord_batches = (
        read_split(directory, FeatureSchema.load(directory), split, 300, shuffle, start)
        for directory in (parquet, data_dir)
    )
    assert parquet_batches.element_spec == tfrecord_batches.element_spec
    batches = list(zip(parquet_batches, tfrecord_batches, strict=True))
    assert len(batches) > 1
    for (features, label), (other_features, other_label) in batches:
        np.testing.assert_array_equal(label, other_label)
        for name, values in features.items():
            np.testing.assert_array_equal(values, other_features[name])


def test_the_files_are_in_the_schema_and_whole(parquet):
    schema = FeatureSchema.load(parquet)
    assert {shard.path.rpartition(".")[2] for shard in schema.shards} == {"parquet"}
    schema.check_shards(parquet)
    assert verify(parquet) == []
    path = parquet / schema.shards[0].path
    names = [schema.label, *schema.dense_features, *schema.single_hot]
    assert pa_parquet.read_schema(path).names == names


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda table: table.drop_columns(["I1"]),
            "column I1 is not there, expected float",
        ),
        (
            lambda table: table.append_column("C27", table["C3"]),
            "column C27 is int32, expected none of that name",
        ),
        (lambda table: table.slice(1), "rows, expected"),
    ],
)
def test_another_file_in_its_place_is_found(parquet, change, problem):
    path = parquet / FeatureSchema.load(parquet).shards[-1].path
    contents = path.read_bytes()
    pa_parquet.write_table(change(pa_parquet.read_table(path)), path)
    (message,) = verify(parquet)
    path.write_bytes(contents)
    assert message.startswith(str(path))
    assert problem in message


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        (lambda table: table.drop_columns(["C3"]), "column C3 is not there, expected"),
        (
            lambda table: table.set_column(
                table.column_names.index("C3"), "C3", table["C3"].cast("int64")
            ),
            "column C3 is int64, expected int32",
        ),
        (None, "Parquet magic bytes not found"),
    ],
)
def test_what_is_no_shard_is_refused_before_it_is_read(
    parquet, tmp_path, contents, problem
):
    schema = FeatureSchema.load(parquet)
    (shard,) = schema.split_shards("test")
    path = tmp_path / shard.path
    path.parent.mkdir()
    if contents is None:
        path.write_text("no Parquet")
    else:
        pa_parquet.write_table(
            contents(pa_parquet.read_table(parquet / shard.path)), path
        )
    schema = replace(schema, shards=(replace(shard, bytes=path.stat().st_size),))
    expected = rf"{re.escape(str(path))} cannot be read as a shard .*: {problem}"
    with pytest.raises(InputError, match=expected):
        read_split(tmp_path, schema, "test", 100)


def test_a_column_name_with_a_flipped_bit_is_refused_in_one_line(parquet, tmp_path):
    schema = FeatureSchema.load(parquet)
    (shard,) = schema.split_shards("test")
    contents = (parquet / shard.path).read_bytes()
    damaged_contents = bytearray(contents)
    footer = len(contents) - 8 - int.from_bytes(contents[-8:-4], "little")
    damaged_contents[contents.index(b"label", footer)] ^= 0x80  # no UTF-8 any more
    path = tmp_path / shard.path
    path.parent.mkdir()
    path.write_bytes(damaged_contents)
    with pytest.raises(InputError, match="cannot be read as a shard") as error:
        read_split(tmp_path, schema, "test", 100)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
