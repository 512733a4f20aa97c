"""What a click model takes, and how it refuses other inputs."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tests.exporting.test_keras_export import MODELS, ROWS, SIZES, embeddings
from tfdlrm.config.models import MFConfig
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.layers import (
    MLP,
    DotInteraction,
    EmbeddingCollection,
    FactorizationMachine,
    LinearTerms,
)
from tfdlrm.models import DLRM, FM, LogisticRegression, MatrixFactorization
from tfdlrm.optimizers import Adagrad

DENSE, IDS = ROWS["dense_features"], ROWS["categorical_features"]
SCHEMA = FeatureSchema(
    ("I1", "I2", "I3"),
    (CategoricalFeature("ad", SIZES[0]), CategoricalFeature("site", SIZES[1])),
)
LABELS = np.array([[1.0], [0.0]], "float32")
COLUMNS = {"ad": IDS[:, 0], "site": IDS[:, 1]}
LOSS = keras.losses.BinaryCrossentropy(from_logits=True)


def compiled(name="dlrm"):
    model = MODELS[name]()
    model.compile(Adagrad(0.1), LOSS)
    return model


WRONG = {
    "a tuple": ((DENSE, IDS), "the inputs are a tuple of 2, expected a dictionary"),
    "an array": (DENSE, "the inputs are a .*, expected a dictionary"),
    "no ids": ({"dense_features": DENSE}, "categorical_features missing among"),
    "another key": (
        {"dense": DENSE, "categorical_features": IDS},
        r"dense_features missing among the inputs \['dense', 'categorical_features'\]",
    ),
    "columns": (COLUMNS, "dense_features and categorical_features missing"),
    "one dimension": (
        {**ROWS, "dense_features": DENSE[:, 0]},
        r"dense_features have shape \((2|None),\), expected \(batch, n\)",
    ),
    "nothing": ({"dense_features": DENSE, "categorical_features": None}, "missing"),
}


@pytest.mark.parametrize("case", WRONG)
def test_inputs_of_another_form_are_one_clear_error(case):
    inputs, message = WRONG[case]
    model = compiled()
    with pytest.raises(ValueError, match=message):
        model(inputs)
    model(ROWS)
    with pytest.raises(ValueError, match=message):
        model(inputs)


@pytest.mark.parametrize("case", ["a tuple", "no ids"])
def test_every_method_of_keras_has_the_clear_error(case):
    inputs, message = WRONG[case]
    model = compiled()
    for use in (
        lambda inputs: model.predict(inputs, verbose=0),
        lambda inputs: model.fit(inputs, LABELS, verbose=0),
        lambda inputs: model.train_on_batch(inputs, LABELS),
    ):
        with pytest.raises(ValueError, match=message):
            use(inputs)


@pytest.mark.slow_variants
@pytest.mark.parametrize("case", ["a tuple", "one dimension"])
def test_training_goes_on_once_the_inputs_are_right(case):
    wrong, _ = WRONG[case]
    model = compiled()
    for use in (model.fit, model.train_on_batch, model.evaluate):
        with pytest.raises(ValueError, match="expected"):
            use(wrong, LABELS)
    model.fit(ROWS, LABELS, verbose=0)
    model.train_on_batch(ROWS, LABELS)
    model.evaluate(ROWS, LABELS, verbose=0)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("dlrm", "fm") else pytest.mark.slow)
        for name in MODELS
        if name != "mf"
    ],
)
def test_columns_of_a_frame_are_ids(name, tmp_path):
    model = compiled(name)
    expected = model(ROWS)
    frame = pd.DataFrame({name: COLUMNS[name] for name in ("ad", "site")})
    first = {"dense_features": DENSE, "categorical_features": dict(frame.items())}
    np.testing.assert_allclose(model.predict(first, verbose=0), expected, rtol=1e-5)
    # The names of the first dictionary count from now on, in saved models too.
    turned = {name: frame[name] for name in ("site", "ad")}
    turned = {"dense_features": DENSE, "categorical_features": turned}
    model.save(tmp_path / "m.keras")
    for candidate in (model, keras.saving.load_model(tmp_path / "m.keras")):
        outputs = candidate.predict(turned, verbose=0)
        np.testing.assert_allclose(outputs, expected, rtol=1e-5)
    model.fit(turned, LABELS, verbose=0)


def test_the_names_of_a_layer_are_those_of_the_model():
    named = embeddings(feature_names=["ad", "site"])
    model = FM(LinearTerms(SIZES), named, None, FactorizationMachine())
    expected = model(ROWS)
    inputs = {
        "dense_features": DENSE,
        "categorical_features": {"site": IDS[:, 1], "ad": IDS[:, 0]},
    }
    np.testing.assert_allclose(model(inputs), expected, rtol=1e-5)
    inputs["categorical_features"]["page"] = inputs["categorical_features"].pop("ad")
    with pytest.raises(ValueError, match="ad is missing; page is unknown"):
        model(inputs)


@pytest.mark.slow
def test_a_frame_of_ids_is_read_by_its_names():
    model = compiled()
    expected = model(ROWS)
    frame = pd.DataFrame(COLUMNS)
    inputs = {"dense_features": pd.DataFrame(DENSE), "categorical_features": frame}
    np.testing.assert_allclose(model.predict(inputs, verbose=0), expected, rtol=1e-5)
    inputs["categorical_features"] = frame[["site", "ad"]]
    np.testing.assert_allclose(model(inputs), expected, rtol=1e-5)
    np.testing.assert_allclose(model.predict(inputs, verbose=0), expected, rtol=1e-5)
    np.testing.assert_allclose(model.predict_on_batch(inputs), expected, rtol=1e-5)
    loss = model.evaluate(ROWS, LABELS, verbose=0)
    assert model.test_on_batch(inputs, LABELS) == pytest.approx(loss, rel=1e-5)
    model.optimizer.learning_rate = 0.0
    history = model.fit(
        inputs, LABELS, validation_data=(inputs, LABELS), verbose=0
    ).history
    assert history["loss"] == pytest.approx([loss], rel=1e-5)
    assert history["val_loss"] == pytest.approx([loss], rel=1e-5)
    assert model.train_on_batch(inputs, LABELS) == pytest.approx(loss, rel=1e-5)
    vectors = model.embeddings(frame)
    np.testing.assert_array_equal(model.embeddings(frame[["site", "ad"]]), vectors)


@pytest.mark.parametrize("model", [DLRM, LogisticRegression])
def test_a_model_of_a_schema_knows_the_names_of_its_columns(model):
    model = model.from_schema(SCHEMA)
    expected = model(ROWS)
    turned = {name: COLUMNS[name] for name in ("site", "ad")}
    actual = model({"dense_features": DENSE, "categorical_features": turned})
    np.testing.assert_array_equal(actual, expected)


def test_a_matrix_factorization_knows_which_columns_it_takes():
    config = MFConfig("site", "ad", embedding_dim=4)
    model = MatrixFactorization.from_schema(SCHEMA, config)
    assert model.embeddings.table("ad").shape[0] == SIZES[0]
    assert model.embeddings.table("site").shape[0] == SIZES[1]


def test_bags_in_columns_are_exported(tmp_path):
    model = DLRM(
        EmbeddingCollection(SIZES, 8, feature_names=["ad", "site"]),
        MLP([8], final_activation="relu"),
        DotInteraction(),
        MLP([4, 1]),
    )
    bags = {
        "ad": tf.constant(IDS[:, 0]),
        "site": tf.ragged.constant([[0, 3], []], dtype=tf.int64),
    }
    rows = {"dense_features": DENSE, "categorical_features": bags}
    expected = np.asarray(model(rows))
    model.export(tmp_path / "m", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "m"))
    np.testing.assert_allclose(served.serve(rows), expected, rtol=1e-5)
