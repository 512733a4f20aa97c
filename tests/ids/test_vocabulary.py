import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.ids.vocabulary import IdTable, encode_categories, table_bytes
from tfdlrm.base.errors import InputError
from tfdlrm.data.vocabulary_files import read_vocabulary, write_vocabulary

NUMBERS = (
    st.integers(0, 2**32 - 1) | st.integers(0, 5) | st.sampled_from([2**31, 2**16])
)


def table_of(values, dtype, **options) -> IdTable:
    ids = range(2, len(values) + 2)
    schema = {"value": dtype, "id": pl.Int32}
    return IdTable(pl.DataFrame({"value": values, "id": ids}, schema), **options)


@pytest.mark.parametrize(
    ("dtype", "values"), [(pl.UInt32, NUMBERS), (pl.String, st.text(max_size=3))]
)
@given(st.data())
def test_a_table_finds_what_a_dictionary_finds(dtype, values, data):
    vocabulary = data.draw(st.lists(values, max_size=60, unique=True))
    more_values = data.draw(st.lists(values | st.none()))
    ids = {None: 1} | {value: position + 2 for position, value in enumerate(vocabulary)}
    table_ids = table_of(vocabulary, dtype).ids(
        pl.Series(vocabulary + more_values, dtype=dtype)
    )
    assert table_ids.dtype == np.int32
    assert table_ids.tolist() == [
        ids.get(value, 0) for value in vocabulary + more_values
    ]


@pytest.mark.parametrize("step", [1, 2**12, 2**16, 4093])
def test_a_large_table_finds_every_value(step):
    values = np.arange(min(200_000, 2**32 // step), dtype=np.uint32) * np.uint32(step)
    ids = np.arange(2, len(values) + 2, dtype=np.int32)
    table = IdTable(pl.DataFrame({"value": values, "id": ids}))
    np.testing.assert_array_equal(table.ids(pl.Series(values)), ids)
    assert not table.ids(pl.Series(values[1:] - np.uint32(1))).any() or step == 1


def test_texts_that_share_a_hash_with_a_known_one_are_unknown(monkeypatch):
    table = table_of(["a", "b", "c"], pl.String)
    hashes = pl.Series(["c", "a"]).hash()
    monkeypatch.setattr(pl.Series, "hash", lambda self: hashes)
    assert table.ids(pl.Series(["other", "a"])).tolist() == [0, 2]


def test_known_texts_that_share_a_hash_keep_their_ids(monkeypatch):
    monkeypatch.setattr(
        pl.Series, "hash", lambda self: self.str.len_bytes().cast(pl.UInt64)
    )
    table = table_of(["a", "b", "cc", "d"], pl.String)
    values = pl.Series(["d", "b", "a", None, "e", "cc", "ee"])
    assert table.ids(values).tolist() == [5, 3, 2, 1, 0, 4, 0]


@pytest.mark.parametrize("dtype", [pl.UInt32, pl.String])
def test_an_empty_table_knows_nothing(dtype):
    values_to_score = pl.Series([0, None, 1], dtype=pl.UInt32).cast(dtype)
    assert table_of([], dtype).ids(values_to_score).tolist() == [0, 1, 0]
    assert table_of([], dtype).ids(values_to_score.clear()).tolist() == []


def test_the_ids_of_unknown_and_missing_values_can_be_others():
    table = table_of([7], pl.UInt32, unknown_id=5, missing_id=6)
    values = pl.Series([7, 8, None], dtype=pl.UInt32)
    assert table.ids(values).tolist() == [2, 5, 6]


@pytest.mark.parametrize("count", [0, 1, 2**12, 50_000])
@pytest.mark.parametrize("length", [0, 5, 200])
def test_a_table_takes_about_what_its_file_says(tmp_path, count, length):
    values = [f"{number:0{length}}" if length else number for number in range(count)]
    vocabulary = pl.DataFrame(
        {"value": values, "id": range(count), "frequency": [9] * count},
        {"value": pl.String if length else pl.UInt32, "id": pl.Int32, "frequency": int},
    )
    write_vocabulary(vocabulary, tmp_path, "C1")
    table = IdTable(vocabulary)
    texts = 0 if table._texts is None else table._texts.estimated_size()
    table_size = table._index.memory_usage(deep=True) + table._ids.nbytes + texts
    assert table_size <= table_bytes(tmp_path, "C1") <= 2.2 * table_size + 2_500


def test_columns_are_encoded_each_by_its_own_vocabulary():
    frame = pl.DataFrame(
        {"C1": [5, None, 6], "C2": ["b", "a", None]},
        schema={"C1": pl.UInt32, "C2": pl.String},
    )
    tables = [table_of([5], pl.UInt32), table_of(["b"], pl.String)]
    ids = encode_categories(frame, ["C1", "C2"], tables)
    assert ids.tolist() == [[2, 2], [1, 0], [0, 1]]
    assert ids.dtype == np.int32


@pytest.fixture(params=[pl.UInt32, pl.String])
def vocabulary(request, tmp_path):
    frame = pl.DataFrame(
        {"value": [7, 8], "id": [2, 3], "frequency": [2, 1]},
        schema={"value": pl.UInt32, "id": pl.Int32, "frequency": pl.Int64},
    ).with_columns(pl.col("value").cast(request.param))
    write_vocabulary(frame, tmp_path, "C1")
    return frame


def test_a_vocabulary_comes_back_from_its_file(tmp_path, vocabulary):
    assert read_vocabulary(tmp_path, "C1", num_values=2).equals(vocabulary)


def test_a_vocabulary_of_another_size_is_refused(tmp_path, vocabulary):
    with pytest.raises(InputError, match=r"holds 2 values.*expected 3"):
        read_vocabulary(tmp_path, "C1", num_values=3)


def test_a_missing_or_damaged_vocabulary_is_refused(tmp_path, vocabulary):
    path = tmp_path / "vocabulary" / "C1.parquet"
    path.write_bytes(b"PAR1 it is not")
    with pytest.raises(InputError, match="cannot be read as a vocabulary"):
        read_vocabulary(tmp_path, "C1", num_values=2)
    path.unlink()
    with pytest.raises(InputError, match="cannot be read as a vocabulary"):
        read_vocabulary(tmp_path, "C1", num_values=2)
