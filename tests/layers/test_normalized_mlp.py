"""MLPs with normalization and other activations."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdlrm.config.models import MLPConfig
from tfdlrm.layers import MLP

INPUTS = np.random.default_rng(0).normal(1, 2, (9, 3)).astype("float32")


def in_keras(normalization, activation):
    """Return the same tower of Keras' own layers."""
    classes = {
        "batch": keras.layers.BatchNormalization,
        "layer": keras.layers.LayerNormalization,
    }
    return keras.Sequential(
        [
            keras.layers.Dense(6, use_bias=normalization == "layer"),
            classes[normalization](epsilon=1e-5),
            keras.layers.Activation(activation),
            keras.layers.Dense(1),
        ]
    )


def random_weights(model, other):
    """Give both models the same random weights, in the order of the other."""
    rng = np.random.default_rng(1)
    first, last = model.dense_layers
    order = [first, *model.normalization_layers, last]
    weights = [weight for layer in order for weight in layer.trainable_variables]
    for weight, twin in zip(weights, other.trainable_variables, strict=True):
        values = rng.normal(size=weight.shape)
        weight.assign(values)
        twin.assign(values)
    return weights


@pytest.mark.parametrize("normalization", ["batch", "layer"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_training_step_is_that_of_keras(normalization, activation):
    mlp = MLP([6, 1], activation, normalization=normalization)
    other = in_keras(normalization, activation)
    mlp(INPUTS)
    other(INPUTS)
    weights = random_weights(mlp, other)
    results = []
    for model, variables in ((mlp, weights), (other, other.trainable_variables)):
        with tf.GradientTape() as tape:
            outputs = model(INPUTS, training=True)
            loss = tf.reduce_sum(outputs**2)
        results.append([outputs, *tape.gradient(loss, variables)])
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)


def test_the_last_layer_is_not_normalized():
    mlp = MLP([6, 4, 1], normalization="batch")
    mlp.build((None, 3))
    assert [layer.gamma.shape for layer in mlp.normalization_layers] == [(6,), (4,)]
    assert [layer.use_bias for layer in mlp.dense_layers] == [False, False, True]


def test_dropout_comes_after_the_activation():
    mlp = MLP([64, 1], dropout=0.5, normalization="layer")
    mlp(INPUTS)
    (norm,), (_, last) = mlp.normalization_layers, mlp.dense_layers
    norm.beta.assign(np.full(64, 100.0))  # all units are active
    last.kernel.assign(np.ones((64, 1)))
    hidden = mlp(INPUTS, training=True).numpy() - last.bias.numpy()
    # Each unit is about 200 or dropped: before normalization nothing would be missing.
    assert 0.3 < hidden.mean() / (64 * 200) < 0.7


@pytest.mark.parametrize("activation", MLPConfig.__annotations__["activation"].__args__)
def test_activations_are_those_of_keras(activation):
    for normalization in (None, "layer"):
        mlp = MLP([6, 1], activation, normalization=normalization)
        mlp.build((None, 3))
        values = mlp.dense_layers[0](INPUTS)
        if normalization:
            values = mlp.normalization_layers[0](values)
            values = keras.activations.get(activation)(values)
        last = mlp.dense_layers[1]
        expected = values.numpy() @ last.kernel.numpy() + last.bias.numpy()
        for training in (False, True):
            actual = mlp(INPUTS, training=training)
            np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow_variants
@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_round_trip(normalization, tmp_path):
    inputs = keras.Input((3,))
    mlp = MLP([4, 1], activation="tanh", normalization=normalization)
    model = keras.Model(inputs, mlp(inputs))
    model.compile("sgd", "mse")
    model.fit(INPUTS, INPUTS[:, :1], batch_size=4, verbose=0)  # the last has one row
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(INPUTS), model(INPUTS))
    for weight, expected in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_an_unknown_normalization_is_refused():
    with pytest.raises(ValueError, match="'instance': expected 'batch', 'layer' or No"):
        MLP([4, 1], normalization="instance")


def test_no_normalization_and_relu_is_the_tower_of_before():
    keras.utils.set_random_seed(3)
    named = MLP([6, 4, 1], activation="relu", normalization=None)
    keras.utils.set_random_seed(3)
    plain = MLP([6, 4, 1])
    np.testing.assert_array_equal(named(INPUTS), plain(INPUTS))
    assert [weight.path.split("/")[1:] for weight in plain.weights] == [
        [f"dense_{index}", name] for index in range(3) for name in ("kernel", "bias")
    ]
