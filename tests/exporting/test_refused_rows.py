"""Signatures refuse what cannot be scored, and name its column and row."""

import re

import numpy as np
import pytest
import tensorflow as tf

from tests.support.exported_cases import NAMES
from tests.support.served import example

INVALID = tf.errors.InvalidArgumentError


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    ("case_name", "column", "value", "expected"),
    [
        ("default", "I3", "1.5", "I3 of row 1 is `1.5`, expected a 64-bit integer or"),
        ("default", "I1", " 1", "expected a 64-bit integer"),
        ("default", "I1", "+1", "expected a 64-bit integer"),
        ("default", "I1", "9223372036854775808", "could not correctly convert"),
        ("hash", "C26", "xyz", "C26 of row 1 is `xyz`, expected a hexadecimal number"),
        ("default", "C1", "123456789", "hexadecimal number of at most 32 bits"),
        ("own", "price", "much", "price of row 1 is `much`, expected a finite number"),
        ("own", "price", "nan", "expected a finite number"),
        ("own", "price", "1e39", "expected a finite number"),
        ("own", "age", "0x10", "expected a finite number"),
        ("own", "age", "1 ", "expected a finite number"),
        ("own", "user", b"\xff", "expected text in UTF-8"),
        ("own", "tags", b"news|\xff", "expected text in UTF-8"),
    ],
)
def test_a_malformed_value_is_named(cases, case_name, column, value, expected):
    case = cases(case_name)
    columns = case.columns(**{column: ["", value, ""]})
    with pytest.raises(INVALID, match=re.escape(expected)):
        case.served("raw", **columns)


def test_columns_of_other_shapes_are_refused(cases):
    case = cases("default")
    for wrong in (["1"], ["1"] * 4, [["1"]] * 3, "1"):
        with pytest.raises((INVALID, ValueError)):
            case.served("raw", **case.columns(I1=wrong))
    with pytest.raises(INVALID):
        case.served("raw", **{name: [[""]] for name in NAMES})


@pytest.mark.parametrize(
    ("case_name", "row", "expected"),
    [
        ("default", {"I1": [1, 2]}, "I1 of row 1 is `2 values`, expected one or none"),
        ("default", {"I1": 1.5}, "I1 of row 1 is `1.5`, expected a whole number"),
        ("own", {"price": float("nan")}, "expected a finite number"),
        ("own", {"user": 1.0}, "user of row 1 is `1`, expected text or an integer"),
        ("own", {"shops": [1.0]}, "expected text or an integer"),
        ("own", {"price": "x"}, "price of row 1 is `x`, expected a finite number"),
    ],
)
def test_a_malformed_example_is_refused(cases, case_name, row, expected):
    examples = [example({}), example(row)]
    for signature, name in (("tf_example", "examples"), ("classify", "inputs")):
        with pytest.raises(INVALID, match=expected):
            cases(case_name).served(signature, **{name: examples})


def test_what_is_no_example_is_refused(cases):
    with pytest.raises(tf.errors.DataLossError):
        cases("default").served("regress", inputs=[b"\xff\xff\xffno"])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_feature_that_is_not_finite_is_refused(cases, bad):
    dense, ids = np.zeros((2, 13), np.float32), np.zeros((2, 26), np.int64)
    dense[1, 4] = bad
    with pytest.raises(INVALID, match=r"I5 of row 1 is `-?(nan|inf)`, expected a fin"):
        cases("default").served(
            "serving_default", dense_features=dense, categorical_features=ids
        )


@pytest.mark.parametrize("case_name", ["default", "own"])
def test_an_id_outside_of_its_vocabulary_is_refused(cases, case_name):
    case = cases(case_name)
    sizes = case.schema.vocabulary_sizes
    width = [1] if case.is_own else []
    dense = np.zeros((2, len(case.schema.dense_features)), np.float32)
    name = case.schema.categorical_features[1].name
    for bad in (-2, sizes[1], 2**40):
        ids = np.zeros((2, len(sizes), *width), np.int64)
        ids[1, 1] = bad
        with pytest.raises(INVALID, match=f"{name} of row 1 is `{bad}`, expected an"):
            case.served(
                "serving_default", dense_features=dense, categorical_features=ids
            )


@pytest.mark.parametrize(
    ("dense", "ids"),
    [
        ((2, 12), (2, 26)),
        ((2, 13), (2, 1)),
        ((2, 13), (1, 26)),
        ((1, 13), (2, 26)),
        ((13,), (1, 26)),
        ((1, 13), (26,)),
        ((1, 13), (1, 26, 1)),
    ],
)
def test_features_of_other_shapes_are_refused(cases, dense, ids):
    with pytest.raises((INVALID, ValueError)):
        cases("default").served(
            "serving_default",
            dense_features=np.zeros(dense, np.float32),
            categorical_features=np.zeros(ids, np.int64),
        )
