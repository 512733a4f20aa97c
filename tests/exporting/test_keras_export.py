"""Click models exported by Keras and TensorFlow themselves, not by `tfdlrm.export`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdlrm.layers import (
    MLP,
    DenseVectors,
    DotInteraction,
    EmbeddingCollection,
    FactorizationMachine,
    FeatureCross,
    LinearTerms,
)
from tfdlrm.models import (
    DCN,
    DLRM,
    FM,
    EmbeddingMLP,
    LogisticRegression,
    MatrixFactorization,
)

SIZES = [100, 20]
ROWS = {
    "dense_features": np.array([[0.5, 1, 2], [1, 0, 3]], "float32"),
    "categorical_features": np.array([[99, 0], [5, 19]]),
}
SIGNATURE = [
    {
        "dense_features": tf.TensorSpec((None, 3), tf.float32),
        "categorical_features": tf.TensorSpec((None, 2), tf.int64),
    }
]


def embeddings(**options):
    return EmbeddingCollection(SIZES, 8, **options)


def dlrm(**options):
    bottom_mlp = MLP([8], final_activation="relu")
    return DLRM(embeddings(**options), bottom_mlp, DotInteraction(), MLP([4, 1]))


MODELS = {
    "dlrm": dlrm,
    "dlrm of several widths": lambda: dlrm(table_dims=[8, 2]),
    "dcn": lambda: DCN(
        embeddings(), [FeatureCross("vector"), FeatureCross()], MLP([8]), MLP([1])
    ),
    "fm": lambda: FM(
        LinearTerms(SIZES), embeddings(), DenseVectors(8), FactorizationMachine()
    ),
    "logistic regression": lambda: LogisticRegression(LinearTerms(SIZES)),
    "mlp": lambda: EmbeddingMLP(embeddings(), MLP([8, 1])),
    "mf": lambda: MatrixFactorization(
        EmbeddingCollection(SIZES[::-1], 8), LinearTerms(SIZES[::-1]), (1, 0)
    ),
}


def with_answer(name, rows=ROWS):
    """Return a model with random weights only, and its logits."""
    model = MODELS[name]()
    model(rows)
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    return model, np.asarray(model(rows))


def assert_serves(path, rows, expected):
    loaded = tf.saved_model.load(str(path))
    np.testing.assert_allclose(loaded.serve(rows), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow_variants
@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_was_called_is_exported(name, tmp_path):
    model, expected = with_answer(name)
    model.export(tmp_path / "m", verbose=False)
    assert_serves(tmp_path / "m", ROWS, expected)


def by_signature(model, path):
    model.export(path, verbose=False, input_signature=SIGNATURE)


def by_input_specs(model, path):
    specs = {
        "dense_features": keras.InputSpec(shape=(None, 3), dtype="float32"),
        "categorical_features": keras.InputSpec(shape=(None, 2), dtype="int64"),
    }
    model.export(path, verbose=False, input_signature=[specs])


def by_archive(model, path):
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", model.call, SIGNATURE)
    archive.write_out(path, verbose=False)


def by_module(model, path):
    module = tf.Module()
    module.model = model
    module.serve = tf.function(lambda rows: model(rows), SIGNATURE)
    tf.saved_model.save(module, path)


def by_functional_model(model, path):
    inputs = {
        "dense_features": keras.Input((3,), name="dense_features"),
        "categorical_features": keras.Input(
            (2,), dtype="int64", name="categorical_features"
        ),
    }
    keras.Model(inputs, model(inputs)).export(path, verbose=False)


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    "way", [by_signature, by_input_specs, by_archive, by_module, by_functional_model]
)
@pytest.mark.parametrize(
    "name",
    [
        "dlrm of several widths",
        *(pytest.param(name, marks=pytest.mark.slow) for name in MODELS),
    ],
)
def test_every_way_of_keras_and_tensorflow(name, way, tmp_path):
    model, expected = with_answer(name)
    way(model, str(tmp_path / "m"))
    assert_serves(tmp_path / "m", ROWS, expected)


def test_the_default_signature_names_its_inputs(tmp_path):
    model, expected = with_answer("dlrm")
    tf.saved_model.save(model, str(tmp_path / "m"))
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    tensors = {name: tf.constant(values) for name, values in ROWS.items()}
    (probabilities,) = loaded.signatures["serving_default"](**tensors).values()
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5, atol=1e-5)


def test_a_loaded_model_is_exported_before_it_is_called(tmp_path):
    model, expected = with_answer("dlrm")
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    loaded.export(tmp_path / "m", verbose=False, input_signature=SIGNATURE)
    assert_serves(tmp_path / "m", ROWS, expected)


RAGGED = tf.ragged.constant([[[1, 2], []], [[4], [5, 6, 19]]], dtype=tf.int64)
BAGS = {
    "ragged": RAGGED,
    "padded": RAGGED.to_tensor(-1).numpy(),
    "indices and offsets": (
        [np.array([1, 2, 4]), np.array([5, 6, 19])],
        np.array([[0, 2], [0, 0]]),
    ),
}


@pytest.mark.slow_variants
@pytest.mark.parametrize("name", ["dlrm", pytest.param("mf", marks=pytest.mark.slow)])
@pytest.mark.parametrize("bags", BAGS)
def test_bags_of_ids_are_exported_in_the_form_that_they_had(bags, name, tmp_path):
    rows = {**ROWS, "categorical_features": BAGS[bags]}
    model, expected = with_answer(name, rows)
    model.export(tmp_path / "m", verbose=False)
    assert_serves(tmp_path / "m", rows, expected)


def test_a_ragged_signature_is_exported(tmp_path):
    model, _ = with_answer("dlrm")
    rows = {**ROWS, "categorical_features": RAGGED}
    spec = tf.RaggedTensorSpec((None, 2, None), tf.int64)
    signature = [{**SIGNATURE[0], "categorical_features": spec}]
    model.export(tmp_path / "m", verbose=False, input_signature=signature)
    assert_serves(tmp_path / "m", rows, np.asarray(model(rows)))


@pytest.mark.parametrize("name", ["dlrm", pytest.param("mf", marks=pytest.mark.slow)])
def test_keras_writes_onnx_with_integers(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    model, expected = with_answer(name)
    model.export(tmp_path / "m.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    types = {value.name: value.type for value in session.get_inputs()}
    assert types == {
        "dense_features": "tensor(float)",
        "categorical_features": "tensor(int64)",
    }
    (outputs,) = session.run(None, ROWS)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow_variants
@pytest.mark.parametrize("name", MODELS)
def test_models_come_back_from_their_settings_and_weights(name, tmp_path):
    model, expected = with_answer(name)
    model.save_weights(tmp_path / "m.weights.h5")
    for again in (
        type(model).from_config(model.get_config()),
        keras.models.clone_model(model),
    ):
        again(ROWS)
        again.load_weights(tmp_path / "m.weights.h5")
        np.testing.assert_allclose(again(ROWS), expected, rtol=1e-5)


@pytest.mark.slow_variants
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint8"])
def test_keras_predicts_from_every_kind_of_input(dtype):
    model, expected = with_answer("dlrm")
    rows = {
        **ROWS,
        "categorical_features": ROWS["categorical_features"].astype(dtype),
    }

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return (rows,)

    for batches in (rows, tf.data.Dataset.from_tensors(rows), Batches()):
        outputs = model.predict(batches, verbose=0)
        np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)
