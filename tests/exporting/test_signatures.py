"""Every signature, called as servers do, against `tfdlrm.predict`."""

import numpy as np
import pytest
import tensorflow as tf

from tests.support.exported_cases import CONFIGS, NAMES, OWN_NAMES
from tests.support.served import Served, example
from tfdlrm.config.models import LogisticRegressionConfig
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.exporting.signatures import METHODS
from tfdlrm.models import build_model


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


@pytest.mark.slow_variants
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


@pytest.mark.slow_variants
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
