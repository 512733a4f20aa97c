"""Columns as pandas, Polars, PyArrow and NumPy hold them, in `index_columns`."""

from array import array
from collections import UserList
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import tensorflow as tf

from tfdlrm.layers.bags import index_columns

BAGS = [["a", "b"], [], ["b"]]


@pytest.mark.parametrize(
    "column",
    [
        [np.array(bag, object) for bag in BAGS],
        [tuple(bag) for bag in BAGS],
        [pd.Series(bag, dtype=object) for bag in BAGS],
        [pl.Series(bag, dtype=pl.String) for bag in BAGS],
        [(value for value in bag) for bag in BAGS],
        ((value for value in bag) for bag in BAGS),
        pd.Series([np.array(bag, object) for bag in BAGS]),
        pl.Series(BAGS),
        pa.array(BAGS),
        pa.chunked_array([BAGS[:1], BAGS[1:]]),
        [pa.scalar(bag, pa.list_(pa.string())) for bag in BAGS],
    ],
)
def test_bags_of_every_kind(column):
    indexed = index_columns([column])
    assert indexed.to_columns() == [BAGS]
    assert indexed.vocabularies == [["a", "b"]]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (pd.Series(["x", "y", "x"]), ["x", "y"]),
        (pd.Series(["x", "y", "x"], dtype="category"), ["x", "y"]),
        (pd.Index([7, 8, 7]), [7, 8]),
        (np.array([7, 8, 7]), [7, 8]),
        (pl.Series(["x", "y", "x"], dtype=pl.Categorical), ["x", "y"]),
        (pa.array(["x", "y", "x"]).dictionary_encode(), ["x", "y"]),
        (tf.constant([7, 8, 7]), [7, 8]),
        (range(7, 9), [7, 8]),
    ],
)
def test_single_values_of_every_kind(column, values):
    indexed = index_columns([column])
    assert indexed.vocabularies == [values]
    assert indexed.indices[0].tolist() == [0, 1, 0][: len(column)]


@pytest.mark.parametrize(
    "column",
    [
        [1.0, None, 2.0, float("nan"), pd.NA],
        [1, Decimal("nan"), 2, np.float32("nan"), pd.NaT],
        pd.Series([1.0, None, 2.0, None, None]),
        pd.Series([1, None, 2, None, None], dtype="Int64"),
        np.array([1.0, np.nan, 2.0, np.nan, np.nan]),
        np.ma.masked_array([1, 5, 2, 5, 5], [0, 1, 0, 1, 1]),
        pl.Series([1.0, None, 2.0, float("nan"), None]),
        pa.array([1, None, 2, None, None]),
        [[1], [None], [2.0, np.nan], [], [pd.NA]],
    ],
)
def test_what_is_missing_is_an_empty_bag(column):
    indexed = index_columns([column])
    assert indexed.vocabularies == [[1, 2]]
    assert indexed.offsets.tolist() == [[0, 1, 1, 2, 2]]


def test_times_stay_times():
    column = np.array(["2024-05-01", "NaT", "2024-05-02"], "datetime64[ns]")
    for typed_column in (column, pd.Series(column)):
        (values,) = index_columns([typed_column]).vocabularies
        assert [str(np.datetime64(value, "D")) for value in values] == [
            "2024-05-01",
            "2024-05-02",
        ]


FRAME = {"C1": ["x", "y", "z"], "C2": ["p", "q", "q"]}


@pytest.mark.parametrize("container", [dict, pd.DataFrame, pl.DataFrame, pa.table])
def test_a_frame_is_its_columns(container):
    indexed = index_columns(container(FRAME), {"C2": ["q", "p"], "C1": ["x", "y", "z"]})
    assert indexed.vocabularies == [["x", "y", "z"], ["q", "p"]]
    assert [ids.tolist() for ids in indexed.indices] == [[0, 1, 2], [1, 0, 0]]


def test_a_structured_array_is_its_columns():
    array = np.array([("x", 3), ("y", 3)], [("C1", "U1"), ("C2", "i8")])
    assert index_columns(array).vocabularies == [["x", "y"], [3]]


def test_two_columns_of_one_name():
    frame = pd.DataFrame([["a", "b"], ["c", "d"]], columns=["x", "x"])
    assert index_columns(frame).vocabularies == [["a", "c"], ["b", "d"]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("abc", "'abc' of type str, expected a list of columns"),
        (["de", "fr"], "Column 0 is 'de' of type str, expected a list"),
        ([{"a", "b"}], "Column 0 is .* of type set"),
        ([{"a": 1}], "Column 0 is .* of type dict"),
        ([3], "Column 0 is 3 of type int"),
        (3, "Got 3 of type int, expected a list of columns"),
        ([], "Got no columns"),
        (np.array([["a", "b"]]), r"give \[column\] for one column, \[\*array.T\]"),
        (pd.Series(["a", "b"]), "of type Series, expected a list of columns"),
        (pl.DataFrame(FRAME).lazy(), "of type LazyFrame"),
        ([["a", {"b": 1}]], "Column 0, row 1 holds {'b': 1} of type dict"),
        ([["a", ["b", ["c"]]]], r"Column 0, row 1 holds \['c'\] in a list"),
        ([[True, 1]], "bool and int, and True equals 1"),
        ([[0.0, np.True_]], "bool and float, and True equals 1"),
    ],
)
def test_what_is_no_column_is_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        index_columns(columns)


@pytest.mark.parametrize(
    ("vocabularies", "message"),
    [
        ([["b", "a", "b"]], "has 'b' at position 0 and at 2: expected each value once"),
        ([np.array(["b", "a", "b"])], "has 'b' at position 0 and at 2"),
        ([{"a", "b"}], "The vocabulary of Column 0 is .* of type set"),
        (["ab"], "The vocabulary of Column 0 is 'ab' of type str"),
        ([["a", "b"], ["c"]], "Got 2 vocabularies for 1 columns"),
        ([], "Got 0 vocabularies for 1 columns"),
        ({"C1": ["a", "b"]}, r"Got vocabularies of \['C1'\], expected those of"),
        ([["a", ["b"]]], "The vocabulary of Column 0 holds lists"),
    ],
)
def test_what_is_no_vocabulary_is_refused(vocabularies, message):
    with pytest.raises(ValueError, match=message):
        index_columns([["b", "a"]], vocabularies)


@pytest.mark.parametrize("container", [list, np.array, pd.Series, pl.Series, pa.array])
def test_vocabularies_of_every_kind(container):
    indexed = index_columns([["c", "a"]], [container(["a", "b", "c"])])
    assert indexed.indices[0].tolist() == [2, 0]


def test_integers_that_became_floats_are_the_same_values():
    column = pd.Series([7, None, 8])  # floats, for pandas' integers cannot be missing
    assert index_columns([column], [[8, 7]]).indices[0].tolist() == [1, 0]


def test_no_rows_are_no_bags():
    indexed = index_columns([[], []])
    assert indexed.offsets.shape == (2, 0)
    assert indexed.to_columns() == [[], []]


def test_values_of_sets_are_numbered_alike_in_every_process():
    # A set of so many values has another order in each process, and hardly this one.
    values = [f"value {number:02}" for number in range(50)]
    indexed = index_columns([[set(values[:25]), frozenset(values[25:])]])
    assert indexed.vocabularies == [values]


@pytest.mark.parametrize("container", [dict, pd.DataFrame, pl.DataFrame, pa.table])
@pytest.mark.parametrize("columns_container", [dict, pd.DataFrame, pl.DataFrame])
def test_vocabularies_with_names_are_those_of_their_columns(
    container, columns_container
):
    columns = columns_container({"x": ["a"], "y": ["b"]})
    vocabularies = container({"y": ["b", "a"], "x": ["b", "a"]})
    vocabularies_of_x_and_y = {"y": ["b", "c"], "x": ["c", "a"]}
    assert index_columns(columns, vocabularies).indices == [[1], [0]]
    indexed = index_columns(columns, container(vocabularies_of_x_and_y))
    assert indexed.vocabularies == [["c", "a"], ["b", "c"]]


@pytest.mark.parametrize("container", [dict, pd.DataFrame, pl.DataFrame])
def test_vocabularies_of_other_names_are_refused(container):
    vocabularies = container({"x": ["a"], "z": ["b"]})
    with pytest.raises(ValueError, match=r"Got vocabularies of \['x', 'z'\], expected"):
        index_columns(pd.DataFrame({"x": ["a"], "y": ["b"]}), vocabularies)


@pytest.mark.parametrize(
    "bag", [{"k": "a", "m": "b"}.values(), UserList(["a", "b"]), array("u", "ab")]
)
def test_any_sequence_is_a_bag(bag):
    indexed = index_columns([[bag]])
    assert indexed.vocabularies == [["a", "b"]]


def test_a_signalling_nan_is_missing():
    assert index_columns([[Decimal("sNaN"), Decimal(1)]]).offsets.tolist() == [[0, 0]]
