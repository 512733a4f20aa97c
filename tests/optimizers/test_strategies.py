"""Click models by Keras' `fit`, under each strategy and next to a GPU."""

from functools import cache
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdlrm.layers import MLP, DotInteraction, EmbeddingCollection
from tfdlrm.models import DLRM
from tfdlrm.optimizers import SGD, Adagrad, RowWiseAdagrad

IDS = np.random.default_rng(0).integers(0, 7, (60, 3))
ROWS = {
    "dense_features": np.random.default_rng(1).random((60, 2)).astype("float32"),
    "categorical_features": IDS,
}
LABELS = (IDS[:, :1] > 3).astype("float32")


def fit(optimizer, strategy=None, **options):
    """Train; return loss and AUC of an epoch and after it, and the logits."""
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        keras.utils.set_random_seed(1)
        model = DLRM(
            EmbeddingCollection([100, 50, 7], 8),
            MLP([8], final_activation="relu"),
            DotInteraction(),
            MLP([16, 1]),
        )
        model.compile(
            optimizer(0.05),
            keras.losses.BinaryCrossentropy(from_logits=True),
            metrics=[keras.metrics.AUC(from_logits=True)],
            **options,
        )
    history = model.fit(ROWS, LABELS, batch_size=16, shuffle=False, verbose=0).history
    measured = model.evaluate(ROWS, LABELS, batch_size=16, verbose=0)
    logits = model.predict(ROWS, batch_size=16, verbose=0)[:, 0]
    return [*(values[0] for values in history.values()), *measured, *logits]


def central_storage():
    cpus = [device.name for device in tf.config.list_logical_devices("CPU")]
    return tf.distribute.experimental.CentralStorageStrategy(cpus, cpus[0])


@cache
def on_one_device():
    return fit(RowWiseAdagrad)


@pytest.mark.parametrize(
    "strategy",
    [
        lambda: tf.distribute.OneDeviceStrategy("cpu:0"),
        pytest.param(
            lambda: tf.distribute.experimental.CentralStorageStrategy(),
            marks=pytest.mark.slow,
        ),
        pytest.param(central_storage, marks=pytest.mark.slow),
    ],
    ids=["one device", "central storage", "central storage of two"],
)
def test_a_strategy_changes_no_number(strategy):
    actual = fit(RowWiseAdagrad, strategy())  # the last batch has 12 rows
    np.testing.assert_allclose(actual, on_one_device(), rtol=1e-4, atol=1e-5)


def test_parameter_servers_are_refused():
    strategy = mock.Mock(spec=tf.distribute.ParameterServerStrategy)
    with (
        mock.patch.object(tf.distribute, "get_strategy", return_value=strategy),
        pytest.raises(ValueError, match="Adagrad does not work under ParameterServer"),
    ):
        Adagrad(0.1)


def listed_with_a_gpu():
    real = tf.config.list_physical_devices
    gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")

    def listed(device_type=None):
        return [*real(device_type), *([gpu] if device_type in (None, "GPU") else [])]

    return mock.patch("tensorflow.config.list_physical_devices", listed)


def test_keras_does_not_compile_by_xla_by_itself_beside_a_gpu():
    ids = keras.Input((3,), dtype="int64")
    vectors = EmbeddingCollection([100, 50, 7], 8)(ids)
    own = keras.Model(ids, keras.layers.Dense(1)(DotInteraction()(vectors)))
    model = DLRM(None, MLP([8], final_activation="relu"), None, MLP([1]))
    for candidate in (own, model):
        with listed_with_a_gpu():
            candidate.compile(SGD(0.1), "mse")
            assert not candidate.jit_compile


def test_xla_that_is_asked_for_is_left_out_with_a_word():
    with pytest.warns(UserWarning, match="Proceeding with `jit_compile=False`"):
        actual = fit(
            RowWiseAdagrad, jit_compile=True
        )  # of a model that was not called yet
    np.testing.assert_allclose(actual, on_one_device(), rtol=1e-5)
