"""A damaged data set is refused with the file's name, wherever its bytes are read."""

import gzip
import json
import random
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest

from pipelines.verify import verify
from tests.data.test_reading import write
from tfdlrm.base.errors import InputError
from tfdlrm.config import TrainConfig
from tfdlrm.data.reading import damage_named, read_split
from tfdlrm.data.records import record_footer, record_header
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.shard_check import check_shard
from tfdlrm.data.vocabulary_files import read_vocabulary
from tfdlrm.exporting.raw_rows import RawFeatures
from tfdlrm.exporting.saved_model import copy_extras
from tfdlrm.planning.advice import Memory, suggestions

FORMATS = [
    "block",
    "row",
    pytest.param(
        "parquet",
        marks=pytest.mark.skipif(
            find_spec("tensorflow_io") is None, reason="tensorflow-io is not installed"
        ),
    ),
]


@pytest.fixture(params=FORMATS)
def data_set(request, tmp_path):
    """A data set in one of the formats: its directory and its schema."""
    return tmp_path, write(tmp_path, request.param)


def read_all(directory, schema, split="train", **options):
    with damage_named(directory, schema):
        for _ in read_split(directory, schema, split, 64, **options):
            pass


def refusal_of(directory, schema, path, **options):
    """Return the message of a pass that meets a damaged shard."""
    with pytest.raises(InputError) as error:
        read_all(directory, schema, **options)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def flip_a_bit(path: Path, rng: random.Random) -> None:
    contents = bytearray(path.read_bytes())
    contents[rng.randrange(len(contents))] ^= 1 << rng.randrange(8)
    path.write_bytes(contents)


@pytest.mark.slow_variants
@pytest.mark.parametrize("shuffle", [None, (0, 1)])
def test_any_flipped_bit_of_a_shard_is_refused_with_its_name(data_set, shuffle):
    directory, schema = data_set
    path = directory / schema.split_shards("train")[1].path
    contents = path.read_bytes()
    for seed in range(4):
        flip_a_bit(path, random.Random(seed))
        refusal_of(directory, schema, path, shuffle=shuffle)
        path.write_bytes(contents)
    read_all(directory, schema, shuffle=shuffle)


def test_a_shard_in_the_place_of_another_is_refused(data_set):
    directory, schema = data_set
    first_path, second_path = (directory / shard.path for shard in schema.shards[:2])
    contents = second_path.read_bytes()
    shards = list(schema.shards)
    shards[0] = replace(shards[0], bytes=len(contents))  # as if both were as large
    shutil.copy(second_path, first_path)
    schema = replace(schema, shards=tuple(shards))
    message = refusal_of(directory, schema, first_path)
    assert "is not the shard that was written" in message


def test_a_shard_without_its_last_record_or_with_one_more_is_refused(data_set):
    directory, schema = data_set
    path = directory / schema.shards[0].path
    contents = path.read_bytes()
    for changed_contents in (
        contents[:-1],
        b"",
        contents + contents,
        gzip.compress(contents),
    ):
        path.write_bytes(changed_contents)
        refusal_of(directory, schema, path)


@pytest.mark.parametrize("record_format", ["block", "row"])
def test_other_records_of_the_same_size_are_refused(tmp_path, record_format):
    schema = write(tmp_path, record_format)
    path = tmp_path / schema.shards[0].path
    size = path.stat().st_size
    payload = bytes(size - len(record_header(0)) - len(record_footer(b"")))
    path.write_bytes(record_header(len(payload)) + payload + record_footer(payload))
    assert path.stat().st_size == size
    assert "is not the shard" in refusal_of(tmp_path, schema, path)


def test_a_shard_that_cannot_be_read_is_said_in_one_line(data_set, monkeypatch):
    directory, schema = data_set
    path = directory / schema.shards[0].path

    def no_disk(self, *args, **kwargs):
        raise OSError(5, "Input/output error", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "open", no_disk)
        with pytest.raises(InputError, match=r"cannot be read.*Input/output error"):
            check_shard(path, schema.shards[0], schema.record_format)
    with monkeypatch.context() as patch:
        patch.setattr(type(path), "is_file", no_disk)
        with pytest.raises(InputError, match=r"cannot be read: Input/output error"):
            schema.check_shards(directory)


@pytest.mark.slow_variants
def test_shards_of_an_earlier_version_are_checked_by_their_sha256(data_set):
    directory, schema = data_set
    old = tuple(replace(shard, crc32c=None) for shard in schema.shards)
    schema = replace(schema, shards=old)
    read_all(directory, schema)
    path = directory / schema.split_shards("test")[0].path
    flip_a_bit(path, random.Random(0))
    refusal_of(directory, schema, path, split="test")


@pytest.mark.slow_variants
def test_a_shard_is_read_once_for_its_checksum(data_set, monkeypatch):
    directory, schema = data_set
    read_all(directory, schema)
    monkeypatch.setattr("tfdlrm.data.shard_check.file_crc32c", None)
    read_all(directory, schema)


@pytest.fixture
def data(data_dir, tmp_path):
    """A data set with vocabularies that a test may damage."""
    return Path(shutil.copytree(data_dir, tmp_path / "data"))


def change_a_value(path: Path) -> None:
    """Write a well-formed vocabulary with another value."""
    vocabulary = pl.read_parquet(path)
    values = vocabulary["value"].to_list()
    values[0] ^= 1
    value = pl.Series("value", values, vocabulary.schema["value"])
    vocabulary.with_columns(value).write_parquet(path)


def test_a_changed_vocabulary_is_refused_wherever_it_is_opened(data, tmp_path):
    schema = FeatureSchema.load(data)
    path = data / "vocabulary" / "C3.parquet"
    change_a_value(path)
    memory = Memory(host=2**20)
    for use in (
        lambda: RawFeatures.load(data, schema),
        lambda: read_vocabulary(data, "C3", 1, schema.vocabularies["C3"]),
        lambda: suggestions(schema, TrainConfig(), memory, data),
        lambda: copy_extras(schema, data, tmp_path),
    ):
        with pytest.raises(
            InputError, match=r"C3\.parquet has the checksum .* damaged"
        ):
            use()
    assert [str(path) in problem for problem in verify(data)] == [True]


def test_a_changed_coverage_is_refused_wherever_it_is_opened(data, tmp_path):
    schema = FeatureSchema.load(data)
    path = data / "coverage.json"
    path.write_text(path.read_text().replace("0.", "1.", 1))
    for use in (
        lambda: RawFeatures.load(data, schema),
        lambda: copy_extras(schema, data, tmp_path),
    ):
        with pytest.raises(InputError, match=r"coverage\.json has the checksum"):
            use()
    assert [str(path) in problem for problem in verify(data)] == [True]
    path.write_text("{}")
    with pytest.raises(InputError, match="cannot be read as the coverage"):
        RawFeatures.load(data, replace(schema, coverage=None))


def test_any_flipped_bit_of_a_vocabulary_is_refused(data):
    schema = FeatureSchema.load(data)
    path = data / "vocabulary" / "C1.parquet"
    contents = path.read_bytes()
    for seed in range(20):
        flip_a_bit(path, random.Random(seed))
        with pytest.raises(InputError, match=r"C1\.parquet has the checksum"):
            RawFeatures.load(data, schema)
        path.write_bytes(contents)
    RawFeatures.load(data, schema)


def test_any_flipped_bit_of_a_schema_is_refused_or_means_nothing(data):
    path = data / "schema.json"
    contents, schema = path.read_bytes(), FeatureSchema.load(data)
    num_refused = 0
    for seed in range(300):
        flip_a_bit(path, random.Random(seed))
        try:
            assert FeatureSchema.load(data) == schema
        except InputError as error:
            num_refused += 1
            assert str(path) in str(error)
            assert "\n" not in str(error)
        path.write_bytes(contents)
    assert num_refused > 150  # the others are in blanks between the values


def test_a_schema_of_an_earlier_version_has_no_checksum_and_is_read(data):
    path = data / "schema.json"
    fields = json.loads(path.read_text())
    assert len(fields.pop("checksum")) == 64
    path.write_text(json.dumps(fields))
    schema = FeatureSchema.load(data)
    assert schema.shards
    schema.save(data)
    assert "checksum" in json.loads(path.read_text())


def test_an_edited_schema_is_refused(data):
    path = data / "schema.json"
    path.write_text(
        path.read_text().replace('"min_frequency": 3', '"min_frequency": 4')
    )
    with pytest.raises(InputError, match="does not match its own checksum"):
        FeatureSchema.load(data)
