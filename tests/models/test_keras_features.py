"""Click models in Keras' files, quantized by Keras, and under strategies."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.exporting.test_keras_export import MODELS, ROWS, with_answer
from tfdlrm import models
from tfdlrm.layers import BucketVectors, EmbeddingCollection
from tfdlrm.layers.table_placement import tables_on
from tfdlrm.optimizers import SGD, Adagrad

LABELS = np.array([[1.0], [0.0]], "float32")
LOSS = keras.losses.BinaryCrossentropy(from_logits=True)
SAMPLE = [
    pytest.param(name, marks=[] if name == "dlrm" else pytest.mark.slow)
    for name in MODELS
]


@pytest.mark.slow_variants
@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_saved_whole_and_summed_up(name, tmp_path):
    model, expected = with_answer(name)
    model.compile(Adagrad(0.1), LOSS)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded(ROWS), expected, rtol=1e-5)
    lines = []
    loaded.summary(print_fn=lambda text, **options: lines.append(text))
    assert f"{model.count_params():,}" in "".join(lines)


@pytest.mark.slow_variants
@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_saved_in_hdf5(name, tmp_path):
    model, expected = with_answer(name)
    model.save(tmp_path / "m.h5")
    classes = {name: getattr(models, name) for name in models.__all__}
    loaded = keras.saving.load_model(tmp_path / "m.h5", custom_objects=classes)
    np.testing.assert_allclose(loaded(ROWS), expected, rtol=1e-5)


def test_layers_are_saved_in_hdf5_in_a_functional_model(tmp_path):
    ids = keras.Input((2,), dtype="int64")
    model = keras.Model(ids, EmbeddingCollection([100, 20], 4, table_dims=[4, 2])(ids))
    model.save(tmp_path / "m.h5")
    classes = {"EmbeddingCollection": EmbeddingCollection}
    loaded = keras.saving.load_model(tmp_path / "m.h5", custom_objects=classes)
    rows = ROWS["categorical_features"]
    np.testing.assert_array_equal(loaded(rows), model(rows))


def num_bytes(model):
    return sum(weight.numpy().nbytes for weight in model.weights)


def expected_rows(values):
    """Return values as 8 bits and a scale hold them, a row at a time."""
    scales = np.abs(values).max(axis=1, keepdims=True).astype("float64") / 127
    return np.rint(values / scales) * scales


@pytest.mark.parametrize("name", SAMPLE)
def test_a_quantized_model_is_smaller_scores_alike_and_is_saved(name, tmp_path):
    model, expected = with_answer(name)
    size = num_bytes(model)
    model.quantize("int8")
    outputs = np.asarray(model(ROWS))
    # Logits that are sums of large numbers may be small themselves.
    np.testing.assert_allclose(outputs, expected, rtol=0.02, atol=0.1)
    if name != "logistic regression":  # a scale would be larger than its numbers
        assert num_bytes(model) < 0.6 * size
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded(ROWS), outputs, rtol=1e-5)
    assert num_bytes(loaded) == num_bytes(model)
    model.save_weights(tmp_path / "m.weights.h5")
    clone = keras.models.clone_model(loaded)
    clone(ROWS)
    clone.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_allclose(clone(ROWS), outputs, rtol=1e-5)
    loaded.export(tmp_path / "m", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "m"))
    np.testing.assert_allclose(served.serve(ROWS), outputs, rtol=1e-4, atol=1e-5)


def test_a_table_has_8_bits_and_a_scale_a_row():
    ids = keras.Input((2,), dtype="int64")
    layer = EmbeddingCollection([40_000, 20], 8)
    model = keras.Model(ids, layer(ids))
    tables = [layer.table(feature) for feature in range(2)]
    model.quantize("int8")
    for feature, table in enumerate(tables):
        actual = layer.table(feature)
        np.testing.assert_allclose(actual, expected_rows(table), rtol=1e-5, atol=1e-9)
    assert num_bytes(model) == 40_020 * (8 + 4)
    bags = np.array([[[1, 2], [3, -1]]])
    sums = [tables[0][1] + tables[0][2], tables[1][3]]
    bound = 2 / 127 / np.sqrt(20)
    np.testing.assert_allclose(layer(bags)[0], sums, atol=bound)


def test_a_quantized_model_trains_its_other_weights():
    model, _ = with_answer("dlrm")
    model.quantize("int8")
    rows = model.embeddings.tables[0].numpy()
    model.compile(SGD(0.1), LOSS)
    model.fit(ROWS, LABELS, verbose=0)
    np.testing.assert_array_equal(model.embeddings.tables[0].numpy(), rows)


def test_buckets_are_quantized_and_saved(tmp_path):
    values = keras.Input((3,))
    model = keras.Model(values, BucketVectors(dim=8)(values))
    model.quantize("int8")
    rows = ROWS["dense_features"]
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded(rows), model(rows))
    assert num_bytes(loaded) == 3 * 80 * (8 + 4)


def test_what_cannot_be_quantized_is_said():
    model, expected = with_answer("mf")
    with pytest.warns(UserWarning, match="embedding tables know int8 only"):
        model.quantize("int4")
    np.testing.assert_array_equal(model(ROWS), expected)
    model.quantize("int8")
    with pytest.raises(ValueError, match="already quantized"):
        model.quantize("int8")
    with tables_on(["CPU:0", "CPU:1"]):
        layer = EmbeddingCollection([50, 40], 4)
        layer.build()
    with pytest.raises(ValueError, match="load it outside `tables_on`"):
        layer.groups[0].tables.quantize("int8")


ROWS_OF_32 = {
    "dense_features": np.random.default_rng(0).random((32, 3)).astype("float32"),
    "categorical_features": np.random.default_rng(1).integers(0, 20, (32, 2)),
}
LABELS_OF_32 = (ROWS_OF_32["categorical_features"][:, :1] > 9).astype("float32")


def two_cpus():
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    return tf.distribute.MirroredStrategy(devices)  # by collectives


@pytest.mark.slow
def test_models_of_two_strategies_do_not_mix_up_their_collectives():
    with two_cpus().scope():
        inputs = keras.Input((3,))
        other = keras.Model(inputs, keras.layers.Dense(1)(inputs))
        other.compile("sgd", "mse")
    other.fit(ROWS_OF_32["dense_features"], LABELS_OF_32, verbose=0)
    losses = []
    for strategy in (two_cpus(), tf.distribute.get_strategy()):
        with strategy.scope():
            keras.utils.set_random_seed(0)
            model = MODELS["dlrm"]()
            model.compile(Adagrad(0.1), LOSS)
        history = model.fit(ROWS_OF_32, LABELS_OF_32, verbose=0, shuffle=False)
        losses.append(history.history["loss"][0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    other.fit(ROWS_OF_32["dense_features"], LABELS_OF_32, verbose=0)


def central_storage():
    cpus = [device.name for device in tf.config.list_logical_devices("CPU")]
    return tf.distribute.experimental.CentralStorageStrategy(cpus, cpus[0])


@pytest.mark.parametrize(
    "strategy",
    [
        lambda: tf.distribute.OneDeviceStrategy("cpu:0"),
        pytest.param(central_storage, marks=pytest.mark.slow),
        pytest.param(two_cpus, marks=pytest.mark.slow),
    ],
)
def test_a_batch_at_a_time_trains_alike_under_a_strategy(strategy):
    results = []
    for candidate in (strategy(), tf.distribute.get_strategy()):
        with candidate.scope():
            keras.utils.set_random_seed(0)
            model = MODELS["dlrm"]()
            model.compile(Adagrad(0.1), LOSS)
        loss = model.train_on_batch(ROWS_OF_32, LABELS_OF_32)
        measured = model.test_on_batch(ROWS_OF_32, LABELS_OF_32)
        scores = model.predict_on_batch(ROWS_OF_32)
        results.append([loss, measured, *np.ravel(scores)[:32]])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4, atol=1e-5)
