"""Every signature, called as a server calls it, against `tfdlrm.predict`."""

import re
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from pipelines.logs import criteo
from pipelines.prepare import prepare
from tests.support.own_log import CONFIG, DESCRIPTION, ROWS, write_log
from tests.support.raw_rows import make_rows, replace_field, write_rows
from tests.support.served import Served, example
from tfdlrm.config import PrepareConfig
from tfdlrm.config.models import LogisticRegressionConfig
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.exporting.signatures import METHODS
from tfdlrm.models import build_model
from tfdlrm.predict import PredictCommand, predict

INVALID = tf.errors.InvalidArgumentError
NAMES = criteo.DENSE_FEATURES + criteo.CATEGORICAL_FEATURES
CONFIGS = {
    "default": PrepareConfig(min_frequency=5),
    "facebook": PrepareConfig(dialect="facebook"),
    "facebook modulo": PrepareConfig(dialect="facebook", max_index_range=20),
    "hash": PrepareConfig(dialect="hash", hash_buckets=30),
    "own": CONFIG,
    "own hash": PrepareConfig(
        dialect="hash", hash_buckets=7, validation_days=1, test_days=1.5
    ),
}
OWN_NAMES = ("price", "age", "user", "tags", "shops")

CRITEO_ROWS = make_rows(300)
UNUSUAL_ROWS = [
    replace_field(replace_field(CRITEO_ROWS[0], 2, count), 15, category)
    for count, category in [
        (b"0005", b"FFFFFFC0"),
        (b"-0", b"5"),
        (b"9223372036854775807", b"000000000051eb84"),
        (b"-9223372036854775808", b"051EB850"),
        (b"", b"0"),
    ]
]
BLANK_ROW = b"0" + b"\t" * len(NAMES)


class Case:
    """An exported model of random weights, and raw rows for it."""

    def __init__(self, case_name, directory):
        config = CONFIGS[case_name]
        self.is_own = case_name.startswith("own")
        if self.is_own:
            self.names = OWN_NAMES
            self.rows = [{name: row[name] for name in self.names} for row in ROWS[:200]]
            columns = directory / "columns.yaml"
            columns.write_text(DESCRIPTION)
            config = replace(config, columns=columns)
            log = self.raw = write_log(directory / "log.csv", ROWS[:900])
        else:
            self.names = NAMES
            log = write_rows(directory / "log.tsv", CRITEO_ROWS)
            lines = [*CRITEO_ROWS[200:], *UNUSUAL_ROWS, *make_rows(99, 1), BLANK_ROW]
            self.raw = write_rows(directory / "rows.tsv", lines)
            self.rows = [
                dict(zip(NAMES, line.decode().split("\t")[1:], strict=True))
                for line in lines
            ]
        self.data_dir = directory / "data"
        prepare([log], self.data_dir, config)
        self.schema = FeatureSchema.load(self.data_dir)
        model = build_model(self.schema, LogisticRegressionConfig())
        rng = np.random.default_rng(0)
        for weight in model.weights:
            weight.assign(rng.normal(0, 0.3, weight.shape))
        self.path = export_model(model, self.schema, self.data_dir, directory / "model")
        self.served = Served(self.path)
        predict(PredictCommand(self.path, self.raw, directory / "predictions.csv"))
        lines = (directory / "predictions.csv").read_text().splitlines()[1:]
        self.predicted = np.array(lines, np.float32)[: len(self.rows)]

    def columns(self, **changes):
        """The first rows as inputs of `raw`, with other values in some columns."""
        first_rows = {name: [row[name] for row in self.rows[:3]] for name in self.names}
        return {**first_rows, **changes}


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    cases_by_name = {}

    def case(case_name):
        if case_name not in cases_by_name:
            cases_by_name[case_name] = Case(case_name, tmp_path_factory.mktemp("case"))
        return cases_by_name[case_name]

    return case


@pytest.mark.parametrize(
    "case_name",
    [
        pytest.param(
            case_name, marks=[] if case_name in ("default", "own") else pytest.mark.slow
        )
        for case_name in CONFIGS
    ],
)
def test_raw_rows_get_the_probabilities_of_predict(cases, case_name):
    case = cases(case_name)
    columns = {name: [row[name] for row in case.rows] for name in case.names}
    probabilities = case.served.probabilities("raw", **columns)
    np.testing.assert_array_equal(probabilities, case.predicted)
    assert len(np.unique(probabilities)) > 100


@pytest.mark.parametrize(
    "case_name",
    [
        pytest.param(
            case_name, marks=pytest.mark.slow if "facebook" in case_name else []
        )
        for case_name in CONFIGS
    ],
)
def test_examples_get_the_probabilities_of_predict(cases, case_name):
    case = cases(case_name)
    examples = [
        example({name: value for name, value in row.items() if value} | {"label": "x"})
        for row in case.rows
    ]
    probabilities = case.served.probabilities("tf_example", examples=examples)
    np.testing.assert_array_equal(probabilities, case.predicted)


def test_examples_may_have_numbers_and_lists(cases):
    case = cases("own")
    rows = [
        {"price": 12.5, "age": 40, "user": "u1", "tags": ["news", "a,b"]},
        {"price": 12, "shops": [3, 17], "tags": "a,b"},
        {},
    ]
    as_text = {
        "price": ["12.5", "12", ""],
        "age": ["40", "", ""],
        "user": ["u1", "", ""],
        "tags": ["news|a,b", "a,b", ""],
        "shops": ["", "3 17", ""],
    }
    examples = [example(row) for row in rows]
    np.testing.assert_array_equal(
        case.served.probabilities("tf_example", examples=examples),
        case.served.probabilities("raw", **as_text),
    )
    criteo_case = cases("default")
    np.testing.assert_array_equal(
        criteo_case.served.probabilities(
            "tf_example", examples=[example({"I1": 7}), example({"I1": 7.0})]
        ),
        criteo_case.served.probabilities(
            "raw", **{name: ["", ""] for name in NAMES} | {"I1": ["7", "7"]}
        ),
    )


def test_classes_and_scores_are_those_of_the_labels(cases):
    case = cases("default")
    inputs = [example({name: v for name, v in case.rows[0].items() if v}), b""]
    probabilities = case.served.probabilities("tf_example", examples=inputs)
    classified = case.served("classify", inputs=inputs)
    assert classified["classes"].tolist() == [[b"0", b"1"]] * 2
    np.testing.assert_array_equal(
        classified["scores"], np.stack([1 - probabilities, probabilities], axis=1)
    )
    np.testing.assert_array_equal(
        case.served.probabilities("regress", inputs=inputs), probabilities
    )


def test_signatures_say_how_they_are_called(cases):
    signatures = cases("own").served.signatures
    methods = {name: signatures[name].method_name for name in METHODS}
    assert methods == METHODS
    assert methods["classify"] == "tensorflow/serving/classify"
    descriptions = {
        name: {
            key: (
                tf.dtypes.as_dtype(info.dtype).name,
                tf.TensorShape(info.tensor_shape),
            )
            for key, info in (*definition.inputs.items(), *definition.outputs.items())
        }
        for name, definition in signatures.items()
        if name in METHODS
    }
    texts = ("string", tf.TensorShape([None]))
    score = ("float32", tf.TensorShape([None, 1]))
    assert descriptions == {
        "serving_default": {
            "dense_features": ("float32", tf.TensorShape([None, 2])),
            "categorical_features": ("int64", tf.TensorShape([None, 3, None])),
            "probability": score,
        },
        "raw": {**dict.fromkeys(OWN_NAMES, texts), "probability": score},
        "tf_example": {"examples": texts, "probability": score},
        "classify": {
            "inputs": texts,
            "classes": ("string", tf.TensorShape([None, 2])),
            "scores": ("float32", tf.TensorShape([None, 2])),
        },
        "regress": {"inputs": texts, "outputs": score},
    }


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


def test_any_number_of_rows_is_scored(cases):
    case = cases("default")
    batch = case.served.probabilities("raw", **case.columns())
    for row in range(3):
        row_columns = {
            name: values[row : row + 1] for name, values in case.columns().items()
        }
        assert case.served.probabilities("raw", **row_columns) == pytest.approx(
            batch[row : row + 1], rel=1e-6
        )
    no_rows = {name: np.array([], object) for name in NAMES}
    assert case.served.probabilities("raw", **no_rows).shape == (0,)


@pytest.mark.parametrize(
    ("price", "other_name"),
    [("price (EUR)", "from"), ("column_1", "column_0"), ("self", "_x"), ("A", "a")],
)
def test_columns_may_have_any_name(tmp_path, price, other_name):
    schema = FeatureSchema(
        (price, other_name),
        (CategoricalFeature("user id", 12),),
        dialect="hash",
        hash_buckets=10,
        columns={"separators": []},
    )
    model = build_model(schema, LogisticRegressionConfig())
    model.weights[1].assign([[0.5], [0.25]])
    served = Served(export_model(model, schema, tmp_path, tmp_path / "model"))
    columns = {price: ["3"], other_name: [""], "user id": ["u1"]}
    probabilities = served.probabilities("raw", **columns)
    expected = 1 / (1 + np.exp(-0.5 * np.log(4)))
    assert probabilities == pytest.approx([expected], rel=1e-6)
    example_found = served.probabilities(
        "tf_example", examples=[example({price: 3.0, "user id": "u1"})]
    )
    assert example_found == pytest.approx(probabilities, rel=1e-6)


def test_vocabularies_are_assets_that_load_elsewhere(cases, tmp_path):
    case = cases("own")
    moved = case.path.rename(tmp_path / "moved")
    names = sorted(path.name for path in (moved / "assets").iterdir())
    assert names == ["shops.txt", "tags.txt", "user.txt"]
    served = Served(moved)
    moved.rename(case.path)
    np.testing.assert_allclose(
        served.probabilities("raw", **case.columns()), case.predicted[:3], rtol=1e-6
    )
