"""Columns of every type: right, or refused with one line."""

import datetime
from decimal import Decimal
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.preprocessing import StandardScaler

from tfdlrm.base.errors import InputError
from tfdlrm.frames.encoder import FeatureEncoder

DAY = datetime.date(2024, 5, 1)
NAN = float("nan")


def roles(frame):
    return dict(line.split()[:2] for line in described(frame))


def described(frame):
    return FeatureEncoder().adapt(frame).describe().splitlines()


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (pd.Series(["b", None, "a", "b"], dtype="category"), ["b", "a"]),
        (pd.Series(["b", pd.NA, "a", "b"], dtype="string"), ["b", "a"]),
        (pd.Series(["b", NAN, "a", "b"]), ["b", "a"]),
        (np.array(["b", "", "a", "b"]), ["b", "a"]),
        (np.array([b"b", b"", b"a", b"b"]), ["b", "a"]),
        (np.array([b"b", None, "a", np.str_("b")], object), ["b", "a"]),
        (pd.Series([True, None, False, True], dtype="boolean"), ["true", "false"]),
        (pd.Series([True, None, False, True]), ["true", "false"]),
        (np.ma.masked_array(["b", "x", "a", "b"], [0, 1, 0, 0]), ["b", "a"]),
        ([DAY, None, datetime.date(2024, 4, 1), DAY], ["2024-05-01", "2024-04-01"]),
        (pl.Series(["b", None, "a", "b"], dtype=pl.Categorical), ["b", "a"]),
        (pl.Series(["b", None, "a", "b"], dtype=pl.Enum(["a", "b"])), ["b", "a"]),
        (pa.array(["b", None, "a", "b"]).dictionary_encode(), ["b", "a"]),
        (pa.chunked_array([["b", None], ["a", "b"]]), ["b", "a"]),
        (pd.Index(["b", None, "a", "b"]), ["b", "a"]),
    ],
)
def test_text_booleans_and_dates_are_categories(column, texts):
    encoder = FeatureEncoder().adapt({"c": column})
    assert encoder.vocabularies == {"c": [None, None, *texts]}
    ids = encoder({"c": column})["categorical_features"]
    assert ids.ravel().tolist() == [2, 1, 3, 2]


@pytest.mark.parametrize(
    "column",
    [
        [1.0, None, 3.0],
        pd.Series([1, None, 3], dtype="Int64"),
        pd.Series([1, None, 3], dtype="Float32"),
        pd.Series([1.0, NAN, 3.0], dtype="float64[pyarrow]"),
        np.array([1.0, np.nan, 3.0], np.float16),
        np.array([1.0, np.nan, 3.0], np.longdouble),
        np.array([1.0, np.nan, 3.0], ">f4"),
        np.ma.masked_array([1, 7, 3], [0, 1, 0]),
        pd.Series([Decimal("1.0"), None, Decimal("3.00")]),
        pd.Series([1.0, NAN, 3.0], dtype=pd.SparseDtype(float)),
        np.array([1, None, 3], object),
        pl.Series([1, None, 3], dtype=pl.UInt8),
        pl.Series([1, None, 3], dtype=pl.Int128),
        pa.array([1, None, 3], pa.decimal256(40, 0)),
        (number for number in [1.0, None, 3.0]),
    ],
)
def test_numbers_are_dense(column):
    frame = {"x": [*column] if not hasattr(column, "dtype") else column}
    features = FeatureEncoder().adapt(frame)(frame)
    expected = np.log1p([1.0, 0.0, 3.0]).astype(np.float32)
    np.testing.assert_array_equal(features["dense_features"].ravel(), expected)


@pytest.mark.parametrize(
    "column",
    [
        [["a", "b"], [], ["b"]],
        [("a", "b"), None, {"b"}],
        np.array([np.array(["a", "b"]), np.array([]), np.array(["b"])], object),
        pd.Series([["a", NAN, "b"], [], ["b", None]]),
        pl.Series([["a", "b"], [], ["b"]]),
        pa.array([["a", "b"], None, ["b"]]),
    ],
)
def test_lists_are_bags(column):
    encoder = FeatureEncoder().adapt({"t": column})
    assert encoder.vocabularies == {"t": [None, None, "b", "a"]}
    bags = encoder({"t": column})["categorical_features"]
    assert bags.to_list() == [[[3, 2]], [[]], [[2]]]


def test_text_with_a_separator_and_lists_are_the_same_bags():
    columns = {"categorical": [{"name": "t", "separator": "|"}]}
    encoder = FeatureEncoder(columns).adapt({"t": ["a|b", "", "b"]})
    as_text = encoder({"t": ["a|b", "", "z"]})["categorical_features"]
    as_lists = encoder({"t": [["a", "b"], [], ["z"]]})["categorical_features"]
    assert as_text.to_list() == as_lists.to_list() == [[[3, 2]], [[]], [[0]]]


def test_integers_are_dense_unless_their_name_says_id():
    frame = pd.DataFrame({"user_id": [7, 8], "zip": [1, 2], "age": [4, 5]})
    assert roles(frame) == {
        "user_id": "categorical",
        "zip": "categorical",
        "age": "dense",
    }
    floats = pd.DataFrame({"item_id": [7.0, None], "score_id": [0.5, 1.0]})
    assert roles(floats) == {"item_id": "categorical", "score_id": "dense"}


def test_categories_of_numbers_are_categories():
    frame = {"c": pd.Series([3, 5, None], dtype="category")}
    encoder = FeatureEncoder().adapt(frame)
    assert encoder.vocabularies == {"c": [None, None, "3", "5"]}
    assert "categories of integers" in encoder.describe()


def test_negative_numbers_that_nobody_described_are_standardized():
    frame = {"x": [-2000.0, 500.0, None, 3000.0], "y": [1.0, 2.0, 3.0, 4.0]}
    encoder = FeatureEncoder().adapt(frame)
    dense = encoder(frame)["dense_features"]
    expected = StandardScaler().fit_transform(np.array([[-2000.0], [500.0], [3000.0]]))
    np.testing.assert_allclose(dense[[0, 1, 3], 0], expected[:, 0], rtol=1e-6)
    assert dense[2, 0] == 0.0  # a missing number counts as the mean
    np.testing.assert_allclose(dense[:, 1], np.log1p(frame["y"]), rtol=1e-6)
    assert "floats, standardized since some are negative" in encoder.describe()
    # Numbers of other rows are not fitted again.
    np.testing.assert_allclose(
        encoder({"x": [500.0], "y": [0.0]})["dense_features"][0], [0.0, 0.0], atol=1e-7
    )


def test_what_was_inferred_can_be_edited():
    frame = {"user": [7, 8, 7], "price": [1.0, 2.0, 3.0], "label": [0, 1, 0]}
    inferred = FeatureEncoder().adapt(frame)
    columns = inferred.columns
    columns["dense"].remove("user")
    assert inferred.columns["dense"] == ["user", "price"]
    columns["categorical"].append("user")
    encoder = FeatureEncoder(columns).adapt(frame)
    assert encoder.vocabularies == {"user": [None, None, "7", "8"]}
    assert encoder.to_schema().dense_features == ("price",)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([1, "a"], "'c' has 1 of type int in row 0 and 'a' of type str in row 1"),
        ([None, True, 1], "has True of type bool in row 1 and 1 of type int in row 2"),
        (
            [["a"], "b"],
            r"has \['a'\] of type list in row 0 and 'b' of type str in row 1",
        ),
        ([2**70, 1], "cannot be used .*at most 64 bits"),
        (["\ud800"], "'c' cannot be used .*UTF-8"),
        ([{"a": 1}], "'c' is of type Struct"),
        ([UUID(int=1)], "'c' is of type extension"),
        (np.array([1j]), "'c' is of type complex128"),
        (np.zeros((2, 2)), r"'c' has the shape \(2, 2\), expected one value a row"),
        (pd.Series(pd.to_datetime(["2024-05-01"])), "a time is no feature by itself"),
        (
            pd.Series(pd.to_datetime(["2024-05-01"])).dt.tz_localize("Asia/Kolkata"),
            "a time is no feature by itself",
        ),
        ([datetime.time(8)], "a time is no feature by itself"),
        (pd.Series(pd.to_timedelta([3], "s")), "'c' is of type Duration"),
        (pd.Series(pd.period_range("2024", periods=1)), "'c' is of type extension"),
        (pd.Series(pd.interval_range(0, 1)), "'c' is of type extension"),
        (pl.Series([object()], dtype=pl.Object), "'c' of type Object cannot be used"),
        ([float("inf")], r"row 0 \(from 0\): column 'c' is .*inf.* replace it"),
        ([1.0, -np.inf, np.inf], "row 1 .* and 1 more are bad"),
        ([1e39], "row 0 .*'c' is .*, expected a finite number"),
        ([DAY, datetime.datetime(2024, 5, 1, 8)], "of type datetime in row 1"),
        ({"a"}, "column 'c' is {'a'} of type set, expected a list or an array"),
        ("abc", "column 'c' is 'abc' of type str, expected a list or an array"),
        (7, r"column 'c' is 7 of type int, .*write \[value\] for a single row"),
        ({"a": 1}, "column 'c' is .* of type dict, expected a list"),
        ([[["a"]]], "'c' is of type"),
        ([[0.5]], "column 'c' is .*, expected a list of categories"),
        (np.array([b"\xff"]), "'c' is .*expected text in UTF-8"),
    ],
)
def test_what_is_no_column_is_refused(column, message):
    with pytest.raises(InputError, match=message) as refused:
        FeatureEncoder().adapt({"c": column})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame([[1.0, 2.0]], columns=["a", "a"]), "several columns 'a', at pos"),
        (pd.DataFrame([[1.0, 2.0]], columns=[0, "0"]), "several columns '0'"),
        (
            pd.DataFrame([[1.0]], columns=[("a", "b")]),
            r"column name \('a', 'b'\) of type",
        ),
        (pd.DataFrame([[1.0]], columns=[None]), "the column name .* expected text"),
        (pd.DataFrame([[1.0]], columns=[""]), r"dense\[0\] is '', expected text"),
        (pd.DataFrame(), "has no column except a label"),
        ({}, "has no column except a label"),
        (pd.DataFrame({"a": []}), "the frame has no rows"),
        ({"a": [1.0], "b": [1.0, 2.0]}, "'a' has 1, 'b' has 2"),
        (pd.Series([1.0]), "of type Series, expected a DataFrame"),
        (pl.Series([1.0]), "of type Series, expected a DataFrame"),
        (pl.LazyFrame({"a": [1.0]}), r"call \.collect\(\) first"),
        (np.zeros(3), r"shape \(3,\), expected two dimensions.* Reshape your data"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\), expected two dimensions"),
        ([1.0, 2.0], r"shape \(2,\), expected two dimensions"),
        ("price.csv", "is 'price.csv' of type str, expected a DataFrame"),
        (7, "is 7 of type int, expected a DataFrame"),
        (None, "is None of type NoneType"),
        ({"dense_features": [1.0]}, "dense_features cannot be the name of a feature"),
    ],
)
def test_what_is_no_frame_is_refused(frame, message):
    with pytest.raises(InputError, match=message) as refused:
        FeatureEncoder().adapt(frame)
    assert "\n" not in str(refused.value)


def test_sparse_matrices_are_refused():
    scipy_sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(InputError, match=r"become dense by \.toarray"):
        FeatureEncoder().adapt(scipy_sparse.csr_matrix(np.eye(2)))


def test_columns_that_are_not_described_may_be_of_any_type():
    frame = pd.DataFrame({"a": [1.0], "b": [object()], 3: [1j], ("x", "y"): [None]})
    frame["time"] = pd.to_datetime(["2024-05-01"])
    encoder = FeatureEncoder({"dense": ["a"]}).adapt(frame)
    assert encoder(frame)["dense_features"].shape == (1, 1)


def test_names_that_are_whole_numbers_are_text():
    frame = pd.DataFrame([[1.0, "x"]], columns=[0, 1])
    encoder = FeatureEncoder().adapt(frame)
    assert encoder.to_schema().dense_features == ("0",)
    assert encoder(frame)["categorical_features"].tolist() == [[2]]


def test_an_array_has_columns_by_number():
    encoder = FeatureEncoder().adapt(np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert encoder.to_schema().dense_features == ("x0", "x1")
    rows = [["a", 1.0], ["b", None]]
    assert roles(rows) == {"x1": "dense", "x0": "categorical"}
    record = np.array([("x", 3.0)], [("c", "U1"), ("d", "f8")])
    assert roles(record) == {"d": "dense", "c": "categorical"}


def test_a_missing_column_is_named_with_the_nearest():
    encoder = FeatureEncoder().adapt({"price": [1.0]})
    with pytest.raises(InputError, match=r"no column 'price', .*; did you mean Price"):
        encoder({"Price": [1.0]})


def test_another_type_than_in_training_is_refused():
    encoder = FeatureEncoder().adapt({"price": [1.0], "tags": [["a"]]})
    with pytest.raises(InputError, match="'tags' is of type string, expected a list"):
        encoder({"price": [1.0], "tags": ["a"]})
    with pytest.raises(
        InputError, match=r"row 1 .*'price' is 'dear', expected a finite"
    ):
        encoder({"price": ["2.5", "dear"], "tags": [["a"], ["a"]]})


@pytest.mark.parametrize("spelling", [("True", "False"), ("TRUE", "FALSE")])
def test_booleans_are_the_values_that_a_log_in_text_spells(spelling):
    encoder = FeatureEncoder().adapt({"c": spelling, "bag": [spelling, spelling]})
    texts = encoder({"c": spelling, "bag": [spelling[:1], spelling]})
    values = encoder({"c": [True, False], "bag": [[True], [True, False]]})
    ids = values["categorical_features"].to_list()
    assert ids == texts["categorical_features"].to_list()
    assert sorted(ids[row][0][0] for row in (0, 1)) == [2, 3]


def test_booleans_stay_as_they_are_where_the_model_knows_them_so():
    encoder = FeatureEncoder().adapt({"c": ["True", "true", "false"]})
    ids = encoder({"c": [True]})["categorical_features"]
    assert ids.tolist() == encoder({"c": ["true"]})["categorical_features"].tolist()


@pytest.mark.filterwarnings("error")
def test_large_numbers_that_are_described_as_they_are_are_warned_of():
    columns = {"dense": [{"name": "balance", "transform": "none"}, "price"]}
    frame = {"balance": [-2e4, 7.0], "price": [2e4, 7.0]}
    with pytest.warns(UserWarning, match="balance: has numbers up to 20,000 in size"):
        FeatureEncoder(columns).adapt(frame)
    FeatureEncoder(columns).adapt({"balance": [-2.0, None], "price": [2e4, 7.0]})
    FeatureEncoder().adapt(frame)  # standardized


def test_text_that_is_described_as_dense_and_a_time_as_a_date_say_how_to_fix_it():
    encoder = FeatureEncoder({"dense": ["price"], "categorical": ["day"]})
    with pytest.raises(InputError, match="'price' is text, list it under categorical"):
        encoder.adapt({"price": ["dear"], "day": [DAY]})
    encoder.adapt({"price": [1.0], "day": [DAY]})
    with pytest.raises(InputError, match=r"times become dates by \.dt\.date"):
        encoder({"price": [1.0], "day": pd.to_datetime(["2024-05-01"])})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_frequency": 0}, "min_frequency is 0, expected from 1"),
        ({"dialect": "hash", "min_frequency": 2}, "no such choice"),
        (
            {"columns": {"dense": ["a"], "categorial": ["b"]}},
            "columns: categorial is un",
        ),
        ({"columns": {"label": "y"}}, "names no feature"),
        (
            {"columns": {"dense": ["a"], "label": "y"}, "label": "z"},
            "give one of the two",
        ),
        ({"columns": "absent.yaml"}, r"absent\.yaml cannot be read"),
        ({"columns": ["a"]}, r"columns is \[a\], expected a mapping"),
        ({"columns": 7}, "columns is 7, expected a mapping"),
    ],
)
def test_a_description_that_cannot_be_used_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        FeatureEncoder(**settings)


def test_spellings_of_missing_values_may_be_numbers():
    columns = {"dense": [{"name": "age", "missing": [-1]}], "categorical": ["c"]}
    encoder = FeatureEncoder(columns | {"missing": ["NA"]}).adapt(
        {"age": [-1, 3], "c": ["NA", "a"]}
    )
    features = encoder({"age": [-1, -1], "c": ["NA", "b"]})
    assert features["dense_features"].tolist() == [[0.0], [0.0]]
    assert features["categorical_features"].tolist() == [[1], [0]]
