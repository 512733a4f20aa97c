"""Batch normalization in every way to train; the last batch has one row."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.small_models import SMALL_DLRM, inputs, random_model, schema
from tfdlrm.config import OptimizerConfig
from tfdlrm.config.models import DeepFMConfig
from tfdlrm.models import build_model
from tfdlrm.training.compiling import compile_model
from tfdlrm.training.distribution import strategy, tables_placed

CONFIG = replace(SMALL_DLRM, normalization="batch")
ROWS = 33
BATCH_SIZE = 8


@pytest.fixture(autouse=True)
def _restored_precision():
    yield
    keras.config.set_dtype_policy("float32")


def trained(devices="default", tables="replicated", steps=1, config=CONFIG):
    """Return the weights of a model after two epochs, those of tables sorted."""
    devices = strategy(devices)
    keras.utils.set_random_seed(0)
    with devices.scope(), tables_placed(devices, tables):
        model = build_model(schema(), config)
        compile_model(model, OptimizerConfig("adagrad", 0.05), steps)
    labels = np.random.default_rng(1).integers(0, 2, (ROWS, 1)).astype("float32")
    rows = tf.data.Dataset.from_tensor_slices((inputs(ROWS), labels))
    model.fit(rows.batch(BATCH_SIZE), epochs=2, verbose=0)
    parts = model.embeddings.tables
    tables = [np.asarray(part).ravel() for part in parts]
    others = [w for w in model.weights if all(w is not part for part in parts)]
    for weight in others:
        copies = devices.experimental_local_results(weight.value)
        for copy in copies[1:]:
            np.testing.assert_array_equal(copy, copies[0])
    numbers = [np.asarray(weight) for weight in others]
    return [np.sort(np.concatenate(tables)), *numbers]


@pytest.mark.slow
@pytest.mark.parametrize("tables", ["replicated", "sharded", "host"])
@pytest.mark.parametrize("steps", [1, 3])
def test_two_devices_learn_what_one_does(tables, steps):
    actual = trained("mirrored", tables, steps)
    for weight, expected in zip(actual, trained(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [3, 16])
def test_steps_in_one_execution_change_no_bit(steps):
    for weight, expected in zip(trained(steps=steps), trained(), strict=True):
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_statistics_are_of_32_bits_in_mixed_precision(precision):
    keras.config.set_dtype_policy(precision)
    weights = trained()
    assert {weight.dtype.name for weight in weights} == {"float32"}
    assert all(np.isfinite(weight).all() for weight in weights)


@pytest.mark.slow
def test_a_batch_that_overflows_changes_no_statistic():
    keras.config.set_dtype_policy("mixed_float16")
    model = build_model(schema(), CONFIG)
    compile_model(model, OptimizerConfig("adagrad", 0.05))
    labels = np.ones((8, 1), "float32")
    model.train_on_batch(inputs(8), labels)
    before = model.get_weights()
    features = inputs(8)
    features["dense_features"][3] = 1e6  # no number of 16 bits
    model.train_on_batch(features, labels)
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_predictions_do_not_depend_on_the_other_rows():
    model, rows = random_model(DeepFMConfig(normalization="batch")), inputs(7)
    model.deep_mlp.normalization_layers[0].moving_variance.assign(np.full(400, 0.7))
    together = model.predict(rows, batch_size=4, verbose=0)
    alone = {name: values[2:3] for name, values in rows.items()}
    np.testing.assert_allclose(
        model.predict(alone, verbose=0), together[2:3], rtol=1e-5
    )
