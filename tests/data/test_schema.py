import json

import pytest

from tfdlrm.base.errors import InputError
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.data.shards import Shard


def schema():
    return FeatureSchema(
        dense_features=("I1", "I2"),
        categorical_features=(CategoricalFeature("C1", 7),),
        shards=(
            Shard("train/part-00000-of-00002.tfrecord", 10, 100, "a"),
            Shard("train/part-00001-of-00002.tfrecord", 5, 50, "b"),
            Shard("test/part-00000-of-00001.tfrecord", 3, 30, "c"),
        ),
        split={"days": 7},
    )


def test_round_trip(tmp_path):
    schema().save(tmp_path)
    assert FeatureSchema.load(tmp_path) == schema()
    assert [path.name for path in tmp_path.iterdir()] == ["schema.json"]


def test_rows_are_counted_by_split():
    assert schema().num_rows("train") == 15
    assert schema().num_rows("test") == 3
    assert schema().num_rows("validation") == 0
    assert schema().held_out_splits == ["test"]


def test_a_directory_without_a_schema_is_named(tmp_path):
    with pytest.raises(InputError, match=r"holds no schema\.json: expected a data set"):
        FeatureSchema.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "format_version None, this version reads 2"),
        ('{"format_version": 99}', "format_version 99, this version reads 2"),
        ('{"format_version": 1}', "format_version 1, this version reads 2"),
        ('{"format_version": 2}', "is not a data set schema"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    (tmp_path / "schema.json").write_text(text)
    with pytest.raises(InputError, match=message):
        FeatureSchema.load(tmp_path)


def test_an_unknown_field_is_refused(tmp_path):
    schema().save(tmp_path)
    path = tmp_path / "schema.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": 1}))
    with pytest.raises(InputError, match="colour"):
        FeatureSchema.load(tmp_path)
