"""The meaning of ids, numbers and labels, and what differs between two of them."""

import json
import shutil
from dataclasses import replace

import polars as pl
import pytest

from tests.support.shop import ANOTHER, as_earlier_release
from tfdlrm.base.errors import InputError
from tfdlrm.data.meaning import Meaning, origin_problem, read_meaning
from tfdlrm.data.meaning_differences import differences, summarize
from tfdlrm.data.number_features import NumberFeature
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.data.transforms import LogSquared, MinMax, Quantiles, Standardize
from tfdlrm.data.vocabulary_contents import (
    content_checksum,
    example_of_difference,
    with_contents,
)


def test_a_vocabulary_is_known_by_its_values_and_not_by_its_file(shop, tmp_path):
    path = shop / "data" / "vocabulary" / "country.parquet"
    vocabulary = pl.read_parquet(path, glob=False)
    assert vocabulary["value"].to_list() == ["de", "fr", "it"]
    schema = FeatureSchema.load(shop / "data")
    assert schema.vocabulary_contents == {"country": content_checksum(vocabulary)}
    other_frequencies = vocabulary.with_columns(
        frequency=pl.col("frequency") + 1
    ).reverse()
    other_frequencies.write_parquet(tmp_path / "it.parquet", compression="snappy")
    read_back = pl.read_parquet(tmp_path / "it.parquet", glob=False)
    assert content_checksum(read_back) == schema.vocabulary_contents["country"]


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        (["a", "b"], [3, 2]),
        (["a", "b"], [1, 2]),
        (["ab", ""], [2, 3]),
        (["a", "c"], [2, 3]),
        (["a", "b", "c"], [2, 3, 4]),
        ([0x61, 0x62], [2, 3]),
    ],
)
def test_other_values_or_ids_are_another_vocabulary(values, ids):
    vocabulary = pl.DataFrame({"value": ["a", "b"], "id": [2, 3]})
    assert content_checksum(pl.DataFrame({"value": values, "id": ids})) != (
        content_checksum(vocabulary)
    )


SCHEMA = FeatureSchema(
    dense_features=("price", "age"),
    categorical_features=(
        CategoricalFeature("country", 5),
        CategoricalFeature("tags", 9, multi_hot=True),
    ),
    label="bought",
    untransformed=("age",),
    min_frequency=1,
    vocabulary_contents={"country": "c" * 64, "tags": "d" * 64},
    columns={"positive": "yes"},
)


STANDARDIZED = NumberFeature("age", Standardize(2.5, 1.0))
RANKS = NumberFeature("age", Quantiles(2, (0.0, 1.5, 9.0)))


@pytest.mark.parametrize(
    ("there", "here", "difference"),
    [
        (
            STANDARDIZED,
            replace(STANDARDIZED, transform=Standardize(2.5, 1.5)),
            "standardize with deviation 1.0 there, 1.5 here",
        ),
        (
            STANDARDIZED,
            replace(STANDARDIZED, transform=MinMax(0.0, 1.0)),
            "transform standardize there, minmax here",
        ),
        (
            STANDARDIZED,
            replace(STANDARDIZED, column="days"),
            "standardize with column age there, days here",
        ),
        (
            replace(STANDARDIZED, clip=(0.0, None)),
            STANDARDIZED,
            "standardize with clip [0.0, None] there, None here",
        ),
        (
            RANKS,
            replace(RANKS, transform=Quantiles(2, (0.0, 1.75, 8.0))),
            "quantiles with the first boundary that differs 1.5 there, 1.75 here",
        ),
        (
            RANKS,
            replace(RANKS, transform=Quantiles(3, (0.0, 1.5, 2.0, 9.0))),
            "quantiles with quantiles 2 there, 3 here",
        ),
    ],
)
def test_other_numbers_of_a_transform_are_another_meaning(there, here, difference):
    for name in ("age", "country"):  # a dense feature, and buckets
        schema, other = (
            replace(SCHEMA, transforms={name: feature}) for feature in (there, here)
        )
        meaning, other_meaning = Meaning.of(schema), Meaning.of(other)
        expected = [f"column {name}: {difference}"]
        assert differences(meaning, other_meaning) == expected
        assert read_meaning(meaning.to_json()) == meaning
        assert meaning.fingerprint != other_meaning.fingerprint


def test_data_sets_without_transforms_keep_their_fingerprint():
    fields = Meaning.of(SCHEMA).to_json()
    assert all(
        column.keys() == {"name", "num_ids", "multi_hot", "vocabulary"}
        for column in fields["categorical"]
    )
    schema = replace(SCHEMA, transforms={"age": STANDARDIZED})
    assert Meaning.of(schema).to_json()["dense"][0] == ("price", "log1p")


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"label": "seen"}, "label: column bought there, seen here"),
        (
            {"columns": {"positive": "no"}},
            "label: positive is 'yes' there, 'no' here",
        ),
        (
            {"columns": {"positive": None}},
            "label: positive is 'yes' there, '1' here",
        ),
        ({"untransformed": ()}, "column age: transform none there, log1p here"),
        (
            {"transforms": {"age": NumberFeature("age", Standardize(2.5, 1.0))}},
            "column age: transform none there, standardize here",
        ),
        (
            {"transforms": {"country": NumberFeature("price", LogSquared())}},
            "column country: buckets of numbers here only",
        ),
        (
            {"dense_features": ("age", "price")},
            "dense columns: price, age there, age, price here",
        ),
        ({"dense_features": ("price",)}, "dense columns: age is there, and not here"),
        (
            {"categorical_features": SCHEMA.categorical_features[:1]},
            "categorical columns: tags is there, and not here",
        ),
        (
            {"vocabulary_contents": {"country": "e" * 64, "tags": "d" * 64}},
            ANOTHER,
        ),
        (
            {
                "categorical_features": (
                    SCHEMA.categorical_features[0],
                    CategoricalFeature("tags", 9),
                )
            },
            "column tags: several values a row there only",
        ),
        ({"dialect": "hash", "hash_buckets": 3}, "dialect: default there, hash here"),
        ({"dialect": "facebook", "reserved_ids": {}}, "dialect: default there, face"),
        (
            {"reserved_ids": {"unknown": 1, "missing": 0}},
            "reserved_ids: {'missing': 1, 'unknown': 0} there, {'missing': 0, ",
        ),
    ],
)
def test_what_differs_is_named(changes, difference):
    texts = differences(Meaning.of(SCHEMA), Meaning.of(replace(SCHEMA, **changes)))
    assert texts[0].startswith(difference)


def test_criteos_hashes_are_no_text():
    hashes = replace(SCHEMA, columns=None, label="bought")
    texts = differences(Meaning.of(hashes), Meaning.of(SCHEMA))
    assert "values: hashes there, text here" in texts


@pytest.mark.parametrize(
    ("dialect", "name"), [("facebook", "max_index_range"), ("hash", "hash_buckets")]
)
def test_rules_without_a_vocabulary_are_compared(dialect, name):
    schema_there = replace(
        SCHEMA, dialect=dialect, vocabulary_contents={}, **{name: 10}
    )
    schema_here = replace(schema_there, **{name: 11})
    texts = differences(Meaning.of(schema_there), Meaning.of(schema_here))
    assert texts == [f"{name}: 10 there, 11 here"]
    assert Meaning.of(schema_there).is_known == (dialect == "hash")


@pytest.mark.parametrize(
    "changes",
    [
        {"min_frequency": 3},
        {"block_rows": 7, "record_format": "row"},
        {"split": {"days": 3}, "source": {}, "version": "0"},
        {"columns": {"positive": "yes", "separators": [","], "format": "tsv"}},
    ],
)
def test_how_rows_were_written_does_not_matter(changes):
    meaning = Meaning.of(replace(SCHEMA, **changes))
    assert differences(Meaning.of(SCHEMA), meaning) == []
    assert meaning.fingerprint == Meaning.of(SCHEMA).fingerprint


@pytest.mark.parametrize("positive", ["1", "true", "True", "1.0"])
def test_spellings_of_a_positive_label_are_one_value(positive):
    plain = replace(SCHEMA, columns={"positive": None})
    with_positive = replace(SCHEMA, columns={"positive": positive})
    assert differences(Meaning.of(plain), Meaning.of(with_positive)) == []
    modulo = replace(plain, dialect="facebook", max_index_range=2**32)
    without_modulo = replace(modulo, max_index_range=None)
    assert differences(Meaning.of(modulo), Meaning.of(without_modulo)) == []


def test_a_meaning_is_kept_as_json():
    meaning = Meaning.of(SCHEMA)
    text = json.dumps(meaning.to_json()).encode()
    assert read_meaning(text) == meaning
    assert read_meaning(text).fingerprint == meaning.fingerprint
    for other_text in (b"{", b"[1]", b"{}", b'{"dense": 3}'):
        with pytest.raises(InputError, match="expected one of this version"):
            read_meaning(other_text)


def test_of_many_differences_the_first_are_named():
    assert summarize(["a", "b"]) == "a; b"
    assert summarize(["a", "b", "c", "d", "e"]) == "a; b; c; and 2 more"


def test_an_example_is_shown_of_criteos_values_and_of_missing_ones(data_dir, tmp_path):
    schema = FeatureSchema.load(data_dir)
    other_data = shutil.copytree(data_dir, tmp_path / "other")
    path = other_data / "vocabulary" / "C2.parquet"
    vocabulary = pl.read_parquet(path, glob=False)
    first_value = vocabulary.sort("id")["value"][0]
    vocabulary.with_columns(
        value=pl.when(pl.col("id") == 2).then(7).otherwise(pl.col("value"))
    ).write_parquet(path)
    as_earlier_release(other_data / "schema.json")
    changed_schema = with_contents(
        replace(FeatureSchema.load(other_data), vocabularies={}), other_data
    )
    example = example_of_difference((schema, data_dir), (changed_schema, other_data))
    assert example == f"id 2 of C2 is {first_value:08x} there, 00000007 here"
    vocabulary.filter(pl.col("id") != 2).write_parquet(path)
    changed_schema = replace(changed_schema, vocabulary_contents={"C2": "other"})
    assert (
        example_of_difference((schema, data_dir), (changed_schema, other_data)) is None
    )
    assert example_of_difference((schema, data_dir), (schema, data_dir)) is None


def test_a_fingerprint_is_not_asked_for_where_ids_are_not_known():
    unknown = replace(SCHEMA, vocabulary_contents={})
    assert origin_problem("ab", unknown) is None
    assert "fingerprint ab, expected " in str(origin_problem("ab", SCHEMA))
