"""Spellings of a missing value, from the description of a log to a served model."""

import csv
import json

import numpy as np
import polars as pl
import pytest

from pipelines.logs.columns import Columns, DaysBy
from pipelines.logs.columns_file import load_columns
from pipelines.logs.json_rows import JsonRows
from pipelines.logs.opening import open_log
from pipelines.prepare import prepare
from tests.support.log_files import read, write
from tests.support.served import Served, example
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.config.models import LogisticRegressionConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.models import build_model
from tfdlrm.predict import PredictCommand, predict

DESCRIPTION = r"""
missing: [NA, \N, null, -1, n/a]
label: y
dense: [a, {name: b, transform: none, missing: [unknown, -999.9]}]
categorical:
  - c
  - {name: d, missing: []}
  - {name: e, separator: "|"}
  - {name: f, separator: "/"}
"""
NAMES = ("a", "b", "c", "d", "e", "f")
SPELLED = [
    ("NA", "unknown", r"\N", "NA", "NA|x|null", "n/a"),
    ("-1", "-999.9", "null", "null", "x|y", "x/NA/y"),
    ("-1.0", "-999.90", "n/a", "u", r"\N", ""),
    ("null", "-1", "na", r"\N", "na|x", "x/y"),
    ("2.5", "3", "u", "v", "y|y", "y"),
]
BLANK = [
    ("", "", "", "NA", "x", ""),
    ("", "", "", "null", "x|y", "x/y"),
    ("", "", "", "u", "", ""),
    ("", "-1", "na", r"\N", "na|x", "x/y"),
    ("2.5", "3", "u", "v", "y|y", "y"),
]
ROWS = [dict(zip(NAMES, row, strict=True)) for row in SPELLED]


def write_rows(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["y", *NAMES])
        writer.writerows([number % 2, *row] for number, row in enumerate(rows))
    return path


def describe(path, text=DESCRIPTION):
    path.write_text(text)
    return load_columns(path)


@pytest.fixture(scope="module")
def columns(tmp_path_factory):
    return describe(tmp_path_factory.mktemp("columns") / "columns.yaml")


def test_spellings_are_those_of_the_column_or_of_all(columns):
    of_all = ("NA", r"\N", "null", "-1", "n/a")
    assert columns.missing == {
        **dict.fromkeys(("y", "a"), of_all),
        # A category -1.0 is the integer -1.
        **dict.fromkeys(("c", "e", "f"), (*of_all, "-1.0")),
        "b": ("unknown", "-999.9"),
    }
    assert Columns.from_json(json.loads(json.dumps(columns.to_json()))) == columns


@pytest.mark.parametrize(
    ("yaml_text", "spellings"),
    [
        ("null", ("null",)),
        ("[NULL, ~, nan, .nan]", ("NULL", "~", "nan", ".nan")),
        ("[no, 0, 1.50]", ("no", "0", "1.50")),
        (r"['', '\N']", (r"\N",)),
        ("[NA, NA]", ("NA",)),
        ("[]", None),
    ],
)
def test_spellings_are_taken_as_they_are_written(tmp_path, yaml_text, spellings):
    text = f"{{label: y, dense: [a], missing: {yaml_text}}}"
    columns = describe(tmp_path / "columns.yaml", text)
    assert columns.missing.get("a") == spellings


@pytest.mark.parametrize("yaml_text", ["{a: b}", "[[NA]]", "[{a: NA}]"])
def test_spellings_that_are_no_texts_are_refused(tmp_path, yaml_text):
    text = f"{{label: y, dense: [a], missing: {yaml_text}}}"
    with pytest.raises(InputError, match=r"missing is .*, expected a list of texts"):
        describe(tmp_path / "columns.yaml", text)


def test_rows_with_spellings_are_those_with_nothing(tmp_path, columns):
    rows = read(open_log(write_rows(tmp_path / "a.csv", SPELLED), columns))
    blank = read(open_log(write_rows(tmp_path / "b.csv", BLANK), columns))
    assert rows == blank
    assert rows["a"] == [None] * 4 + [2.5]
    assert rows["e"] == [["x"], ["x", "y"], [], ["na", "x"], ["y", "y"]]


def test_typed_columns_have_the_same_spellings(tmp_path):
    frame = pl.DataFrame(
        {
            "y": [0, 1],
            "a": [-1, 7],
            "b": pl.Series([-999.9, 1.5], dtype=pl.Float32),
            "c": [-1.0, 7.0],
            "d": pl.Series(["NA", "x"], dtype=pl.Categorical),
            "e": [["NA", "x"], ["y", None]],
        }
    )
    frame.write_parquet(tmp_path / "log.parquet")
    text = """
        format: parquet
        missing: [NA, -1.0]
        label: y
        dense: [a, {name: b, missing: -999.9}]
        categorical: [c, d, {name: e, multi_hot: true}]
    """
    columns = describe(tmp_path / "columns.yaml", text)
    assert read(open_log(tmp_path / "log.parquet", columns)) == {
        "y": [0, 1],
        "a": [None, 7.0],
        "b": [None, 1.5],
        "c": [None, "7"],
        "d": [None, "x"],
        "e": [["x"], ["y"]],
    }


@pytest.mark.parametrize("log_format", ["csv", "parquet"])
def test_a_label_or_a_day_that_is_missing_is_a_bad_row(tmp_path, log_format):
    days_by = DaysBy("t", "day")
    missing = dict.fromkeys(("y", "t"), ("NA", "-1"))
    columns = Columns(
        "y", ("a",), (), format=log_format, days_by=days_by, missing=missing
    )
    for label, day in (("NA", "3"), ("-1", "3"), ("1", "NA"), ("1", "-1")):
        frame = pl.DataFrame({"y": ["0", label], "a": [1, 2], "t": ["3", day]})
        path = tmp_path / f"log.{log_format}"
        frame.write_csv(path) if log_format == "csv" else frame.write_parquet(path)
        log = open_log(path, columns, "skip")
        assert read(log)["y"] == [0]
        assert log.skipped.counts.total() == 1


@pytest.mark.parametrize("word", [r"\N", "NA", "null", "NaN", "-"])
def test_a_word_for_nothing_in_a_number_column_says_what_to_do(tmp_path, word):
    path = write(tmp_path / "log.csv", f"y,a\n1,{word}\n")
    with pytest.raises(InputError, match="list it as `missing` in the columns file"):
        read(open_log(path, Columns("y", ("a",), ())))


def test_events_have_the_same_spellings(tmp_path, columns):
    expected = read(open_log(write_rows(tmp_path / "log.csv", BLANK), columns))
    events = [
        json.dumps({"y": number % 2, **row}).encode() for number, row in enumerate(ROWS)
    ]
    frame, bad = JsonRows(columns).read(events)
    assert not bad
    assert frame.to_dict(as_series=False) == expected
    typed = b'{"y": 1, "a": -1, "b": -999.9, "c": -1, "f": ["NA", "x"], "e": "NA|x"}'
    frame, bad = JsonRows(columns).read([typed, b'{"y": 0, "f": "n/a"}'])
    assert not bad
    assert frame.drop("y", "d").to_dicts() == [
        {"a": None, "b": None, "c": None, "e": ["x"], "f": ["x"]},
        {"a": None, "b": None, "c": None, "e": [], "f": []},
    ]


@pytest.fixture(
    scope="module", params=["default", pytest.param("hash", marks=pytest.mark.slow)]
)
def model(tmp_path_factory, request):
    directory = tmp_path_factory.mktemp("model")
    (directory / "columns.yaml").write_text(DESCRIPTION)
    log = write_rows(directory / "log.csv", SPELLED * 4)
    settings = {"dialect": "hash", "hash_buckets": 50}
    if request.param == "default":
        settings = {"min_frequency": 1}
    config = PrepareConfig(columns=directory / "columns.yaml", **settings)
    prepare([log], directory / "data", config)
    schema = FeatureSchema.load(directory / "data")
    model = build_model(schema, LogisticRegressionConfig())
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    return export_model(model, schema, directory / "data", directory / "model")


@pytest.fixture(scope="module")
def served(model):
    return Served(model)


def predict_file(model, directory, rows):
    write_rows(directory / "rows.csv", rows)
    command = PredictCommand(model, directory / "rows.csv", directory / "out.csv")
    predict(command)
    return np.loadtxt(command.output_file, np.float32, skiprows=1)


def test_predict_and_every_signature_take_spellings_as_missing(model, served, tmp_path):
    expected = predict_file(model, tmp_path, BLANK)
    assert len(set(expected)) == len(BLANK)
    np.testing.assert_array_equal(predict_file(model, tmp_path, SPELLED), expected)
    columns = {name: [row[name] for row in ROWS] for name in NAMES}
    np.testing.assert_array_equal(served.probabilities("raw", **columns), expected)
    examples = [example({n: v for n, v in row.items() if v}) for row in ROWS]
    probabilities = served.probabilities("tf_example", examples=examples)
    np.testing.assert_array_equal(probabilities, expected)


def test_numbers_in_examples_are_compared_by_value(served):
    typed = [
        example({"a": -1, "b": -999.9, "c": -1}),
        example({"a": -1.0}),
        example({}),
    ]
    typed_probabilities = served.probabilities("tf_example", examples=typed)
    assert len(set(typed_probabilities)) == 1
