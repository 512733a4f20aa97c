from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.vocabulary import (
    IdTable,
    count_values,
    encode_categories,
    load_vocabularies,
    write_vocabulary,
)
from tfdlrm.errors import InputError
from tfdlrm.schema import CategoricalFeature, FeatureSchema

VALUES = st.integers(0, 2**32 - 1) | st.integers(0, 5) | st.sampled_from([2**31, 2**16])


def as_rows(values) -> pl.LazyFrame:
    return pl.LazyFrame({"C1": values}, schema={"C1": pl.UInt32})


def plain_ids(values, min_frequency) -> dict[int | None, int]:
    counts = Counter(value for value in values if value is not None)
    kept = sorted(
        (value for value in counts if counts[value] >= min_frequency),
        key=lambda value: (-counts[value], value),
    )
    return {None: 1, **{value: position + 2 for position, value in enumerate(kept)}}


@given(st.lists(VALUES | st.none(), max_size=60), st.integers(1, 4))
def test_ids_are_those_of_a_plain_count(values, min_frequency):
    vocabulary = count_values(as_rows(values), "C1", min_frequency)
    ids = plain_ids(values, min_frequency)
    expected = {value: number for value, number in ids.items() if value is not None}
    assert dict(vocabulary.select("value", "id").rows()) == expected
    assert vocabulary["id"].to_list() == list(range(2, len(expected) + 2))
    counts = Counter(values)
    assert all(counts[value] == n for value, _, n in vocabulary.rows())


@given(st.lists(VALUES, max_size=60, unique=True), st.lists(VALUES | st.none()))
def test_a_table_finds_what_a_dictionary_finds(known, asked):
    ids = {None: 1} | {value: position + 2 for position, value in enumerate(known)}
    frame = pl.DataFrame(
        {"value": known, "id": range(2, len(known) + 2)},
        schema={"value": pl.UInt32, "id": pl.Int32},
    )
    found = IdTable(frame).ids(pl.Series(known + asked, dtype=pl.UInt32))
    assert found.dtype == np.int32
    assert found.tolist() == [ids.get(value, 0) for value in known + asked]


@pytest.mark.parametrize("step", [1, 2**12, 2**16, 4093])
def test_a_large_table_finds_every_value(step):
    values = np.arange(min(200_000, 2**32 // step), dtype=np.uint32) * np.uint32(step)
    ids = np.arange(2, len(values) + 2, dtype=np.int32)
    table = IdTable(pl.DataFrame({"value": values, "id": ids}))
    np.testing.assert_array_equal(table.ids(pl.Series(values)), ids)
    assert not table.ids(pl.Series(values[1:] - np.uint32(1))).any() or step == 1


def test_columns_are_encoded_each_by_its_own_vocabulary():
    frame = pl.DataFrame(
        {"C1": [5, None, 6], "C2": [6, 5, None]},
        schema={"C1": pl.UInt32, "C2": pl.UInt32},
    )
    tables = [IdTable(pl.DataFrame({"value": [value], "id": [2]})) for value in (5, 6)]
    ids = encode_categories(frame, ["C1", "C2"], tables)
    assert ids.tolist() == [[2, 2], [1, 0], [0, 1]]
    assert ids.dtype == np.int32


@pytest.fixture
def schema(tmp_path):
    vocabulary = count_values(as_rows([7, 7, 8, None]), "C1", min_frequency=1)
    write_vocabulary(vocabulary, tmp_path, "C1")
    return FeatureSchema(
        dense_features=("I1",), categorical_features=(CategoricalFeature("C1", 4),)
    )


def test_a_vocabulary_comes_back_from_its_file(tmp_path, schema):
    (table,) = load_vocabularies(tmp_path, schema)
    asked = pl.Series([8, 7, None, 9], dtype=pl.UInt32)
    assert table.ids(asked).tolist() == [3, 2, 1, 0]
    kept = pl.read_parquet(tmp_path / "vocabulary" / "C1.parquet")
    assert dict(kept.schema) == {
        "value": pl.UInt32,
        "id": pl.Int32,
        "frequency": pl.Int64,
    }


def test_a_vocabulary_of_another_size_is_refused(tmp_path, schema):
    other = replace(schema, categorical_features=(CategoricalFeature("C1", 5),))
    with pytest.raises(InputError, match=r"holds 2 values.*expected 3"):
        load_vocabularies(tmp_path, other)


def test_a_missing_or_damaged_vocabulary_is_refused(tmp_path, schema):
    path = tmp_path / "vocabulary" / "C1.parquet"
    path.write_bytes(b"PAR1 it is not")
    with pytest.raises(InputError, match="cannot be read as a vocabulary"):
        load_vocabularies(tmp_path, schema)
    path.unlink()
    with pytest.raises(InputError, match="cannot be read as a vocabulary"):
        load_vocabularies(tmp_path, schema)
