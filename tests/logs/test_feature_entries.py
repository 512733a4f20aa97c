"""Transforms, buckets and flags in a description of columns."""

import json
import math

import polars as pl
import pytest

from pipelines.ids.number_values import NumberValues
from pipelines.logs.columns import Columns
from tfdlrm.base.errors import InputError
from tfdlrm.data.number_features import NumberFeature

EVERYTHING = """
label: y
names: [y, price, visits, age, city, hour]
missing: [NA]
dense:
  - {name: price, transform: standardize, clip: [null, 500], missing_flag: true}
  - {name: price_rank, column: price, transform: {quantiles: 20}}
  - {name: visits, transform: log, missing: "-1"}
  - {name: visits_capped, column: visits, clip: [0, 9]}
  - {name: age, transform: none}
categorical:
  - city
  - {name: visits_bucket, column: visits, buckets: log2_squared}
  - {name: hour, buckets: {quantiles: 6}, clip: [0, 23]}
"""


def test_limits_may_have_an_exponent(load):
    columns = load(
        "label: y\ndense: [{name: price, clip: [-1e-2, 1e6]}]\nnames: [y, price]\n"
    )
    assert columns.recipes["price"]["clip"] == [-0.01, 1_000_000.0]


def test_transforms_buckets_and_flags_are_read(load):
    columns = load(EVERYTHING)
    assert columns.dense_features == (
        *("price", "price_missing", "price_rank", "visits", "visits_capped", "age"),
    )
    assert columns.single_hot == ("city", "visits_bucket", "hour")
    assert columns.untransformed == ("age",)
    assert columns.number_columns == ("price", "visits", "age", "hour")
    assert columns.text_columns == ("city",)
    assert columns.recipes == {
        "price": {
            "column": "price",
            "transform": {"name": "standardize"},
            "clip": [None, 500.0],
        },
        "price_missing": {"column": "price", "transform": {"name": "is_missing"}},
        "price_rank": {
            "column": "price",
            "transform": {"name": "quantiles", "quantiles": 20},
        },
        "visits_capped": {
            "column": "visits",
            "transform": {"name": "log"},
            "clip": [0.0, 9.0],
        },
        "visits_bucket": {"column": "visits", "transform": {"name": "log2_squared"}},
        "hour": {
            "column": "hour",
            "transform": {"name": "quantiles", "quantiles": 6},
            "clip": [0.0, 23.0],
        },
    }
    assert columns.missing["visits"] == ("-1",)
    assert columns.missing["hour"] == columns.missing["price"] == ("NA",)
    assert Columns.from_json(json.loads(json.dumps(columns.to_json()))) == columns


@pytest.mark.parametrize("transform", ["log", "log1p", "none"])
def test_features_as_before_have_no_recipe(load, transform):
    columns = load(f"{{label: y, dense: [{{name: a, transform: {transform}}}]}}")
    assert columns.recipes == {}
    assert "recipes" not in columns.to_json()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("transform: ln", r"dense\[0\].transform is 'ln', expected one of log, none,"),
        ("transform: quantiles", "is 'quantiles', expected their number: {quantiles: "),
        ("transform: {quantiles: 1}", "quantiles is 1, expected a whole number from 2"),
        ("transform: {quantiles: 2.5}", "quantiles is 2.5, expected a whole number"),
        ("transform: {quantiles: true}", "quantiles is True, expected a whole number"),
        ("transform: {quantile: 9}", "transform.quantile is unknown"),
        ("transform: {clip: [0, 1]}", "expected clip: .* next to transform"),
        ("transform: [log]", r"transform is \['log'\], expected one of"),
        ("clip: [1]", r"clip is \[1\], expected \[LOWEST, HIGHEST\]"),
        ("clip: [9, 1]", "two ascending numbers"),
        ("clip: [1, 1]", "two ascending numbers"),
        ("clip: [null, null]", "two ascending numbers"),
        ("clip: [0, .inf]", "two ascending numbers"),
        ("clip: [0, yes]", "two ascending numbers"),
        ("clip: [0, 1e39]", "two ascending numbers"),
        (f"clip: [0, 1{'0' * 400}]", "two ascending numbers"),
        ("clip: 5", "clip is 5, expected"),
        ("clip: ~", "clip is None, expected"),
        ("missing_flag: 1", "missing_flag is 1, expected true or false"),
        ("buckets: log2_squared", "dense.0..buckets is unknown"),
        ("column: 5", r"dense\[0\].column is 5, expected text"),
        ("column: y", "a is read from y, the label"),
        ("column: city", "is read from city, which is under categorical as text"),
        (
            "missing: [x], column: b",
            r"missing is \['-'\], expected \['x'\], as another",
        ),
    ],
)
def test_a_bad_dense_entry_is_refused(load, entry, message):
    other = "{name: b, missing: ['-']}"
    text = f"{{label: y, dense: [{{name: a, {entry}}}, {other}], categorical: [city]}}"
    with pytest.raises(InputError, match=message) as raised:
        load(text)
    assert "columns.yaml: " in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "buckets: standardize",
            r"buckets is 'standardize', expected one of log2_squa",
        ),
        ("buckets: 20", "buckets is 20, expected one of log2_squared, {quantiles: 20}"),
        ("buckets: {quantiles: 1001}", "expected a whole number from 2 to 1,000"),
        ("buckets: log2_squared, separator: '|'", "separator is given with buckets"),
        ("column: price", "column is without buckets, expected buckets too"),
        ("clip: [0, 1]", "clip is without buckets"),
        ("buckets: log2_squared, missing_flag: true", "missing_flag is unknown"),
    ],
)
def test_a_bad_entry_of_buckets_is_refused(load, entry, message):
    with pytest.raises(InputError, match=message):
        load(f"{{label: y, dense: [price], categorical: [{{name: a, {entry}}}]}}")


@pytest.mark.parametrize(
    ("dense", "message"),
    [
        ("a, {name: a, transform: minmax}", "named twice.*give the second .* `column`"),
        ("{name: a, missing_flag: true}, a_missing", "a_missing is named twice"),
        ("{name: a, column: b}, b, {name: c, column: a}", "a is the name of a feature"),
        ("{name: a, clip: [0, 1]}, /number/a", "/number/a cannot be the name of a col"),
    ],
)
def test_names_that_mean_two_things_are_refused(load, dense, message):
    with pytest.raises(InputError, match=message):
        load(f"{{label: y, dense: [{dense}]}}")


def test_names_of_a_file_without_a_head_line_are_those_of_columns(load):
    text = "{label: y, names: [y, b], dense: [{name: a, column: b}]}"
    assert load(text).number_columns == ("b",)
    with pytest.raises(InputError, match="names lacks c"):
        load(text.replace("column: b", "column: c"))


def test_numbers_are_kept_next_to_the_usual_transform(load):
    columns = load(
        "{label: y, dense: [{name: a, missing_flag: true}, /number/b, b],"
        " categorical: [{name: c, column: a, buckets: log2_squared}]}"
    )
    frame = pl.DataFrame({"a": [1.0, None], "b": [0.0, 3.0], "/number/b": [0.0, 0.0]})
    typed = columns.transform(frame)
    features = {
        name: NumberFeature.from_json(recipe)
        for name, recipe in columns.recipes.items()
    }
    rows = NumberValues.of(columns, features).add_to(typed)
    assert rows.select("a", "b").rows() == [
        (pytest.approx(math.log(2)), 0),
        (0, pytest.approx(math.log(4))),
    ]
    assert rows["a_missing"].to_list() == [0, 1]
    assert rows["c"].to_list() == ["1", None]
    assert set(rows.columns) == set(columns.features)
