import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdlrm.layers import MLP


def test_outputs_are_those_of_the_matrices():
    mlp = MLP([5, 2])
    inputs = np.random.default_rng(0).normal(size=(7, 3))
    outputs = mlp(inputs)
    (w0, b0), (w1, b1) = ((x.kernel.numpy(), x.bias.numpy()) for x in mlp.dense_layers)
    hidden = np.maximum(inputs @ w0.astype("float64") + b0, 0)
    np.testing.assert_allclose(outputs, hidden @ w1 + b1, rtol=1e-5, atol=1e-6)


def test_initial_values_have_the_reference_spread():
    keras.utils.set_random_seed(0)
    mlp = MLP([400])
    mlp.build((None, 600))
    kernel, bias = (weight.numpy() for weight in mlp.weights)
    assert kernel.std() == pytest.approx(np.sqrt(2 / 1000), rel=0.01)
    assert abs(kernel).max() > 4 * kernel.std()  # normal, not cut at two deviations
    assert bias.std() == pytest.approx(np.sqrt(1 / 400), rel=0.15)


def test_final_activation_ends_the_tower():
    outputs = MLP([8, 4], final_activation="relu")(np.ones((3, 2)))
    assert outputs.numpy().min() >= 0


def test_dropout_acts_in_training_only():
    mlp = MLP([64, 64], dropout=0.5)
    inputs = np.ones((2, 3))
    np.testing.assert_array_equal(mlp(inputs), mlp(inputs, training=False))
    dropped = mlp(inputs, training=True)
    assert not np.allclose(dropped, mlp(inputs))


def exact_gradients(mlp, inputs, final_relu):
    """Return gradients of the sum of squared outputs, by hand in float64."""
    values, hidden = inputs.astype("float64"), []
    for i, layer in enumerate(mlp.dense_layers):
        kernel, bias = (np.asarray(w, "float64") for w in (layer.kernel, layer.bias))
        hidden.append((values, kernel))
        values = values @ kernel + bias
        if final_relu or i < len(mlp.dense_layers) - 1:
            values = np.maximum(values, 0)
        hidden[-1] += (values,)
    gradient, gradients = 2 * values, []
    for i, (inputs_of_layer, kernel, outputs) in reversed(list(enumerate(hidden))):
        if final_relu or i < len(hidden) - 1:
            gradient = gradient * (outputs > 0)
        gradients = [inputs_of_layer.T @ gradient, gradient.sum(0), *gradients]
        gradient = gradient @ kernel.T
    return [gradient, *gradients]


@pytest.mark.slow_variants
@pytest.mark.parametrize("width", [3, 16, 37])  # 37 and 3 fill no vector register
@pytest.mark.parametrize("final", [None, "relu"])
@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_of_a_training_step_are_exact(width, final, compiled):
    rng = np.random.default_rng(0)
    mlp = MLP([37, 5, 2], final_activation=final)
    inputs = tf.constant(rng.normal(size=(11, width)), tf.float32)

    def gradients(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(mlp(inputs, training=True) ** 2)
        return tape.gradient(loss, [inputs, *mlp.trainable_variables])

    mlp(inputs)
    actual = (tf.function(gradients) if compiled else gradients)(inputs)
    expected = exact_gradients(mlp, inputs.numpy(), final == "relu")
    assert len(actual) == len(expected) == 7
    for gradient, exact in zip(actual, expected, strict=True):
        np.testing.assert_allclose(gradient, exact, rtol=1e-4, atol=1e-4)


def test_training_and_inference_give_the_same_outputs():
    mlp = MLP([64, 16], final_activation="relu", dtype="mixed_bfloat16")
    inputs = np.random.default_rng(0).normal(size=(9, 37))
    outputs = mlp(inputs, training=True)
    assert outputs.dtype == tf.bfloat16
    np.testing.assert_array_equal(
        tf.cast(outputs, tf.float32), tf.cast(mlp(inputs), tf.float32)
    )


@pytest.mark.parametrize("shape", [(3,), (4, 3)])
def test_other_activations_and_shapes_train_too(shape):
    mlp = MLP([5, 2], activation="tanh" if len(shape) == 1 else "relu")
    inputs = np.ones((2, *shape), "float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(mlp(inputs, training=True))
    gradients = tape.gradient(loss, mlp.trainable_variables)
    assert [g.shape for g in gradients] == [w.shape for w in mlp.trainable_variables]


def test_round_trip(tmp_path):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, MLP([4, 1], final_activation="sigmoid")(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(np.ones((2, 3))), model(np.ones((2, 3))))


@pytest.mark.parametrize("units", [[], [4, 0]])
def test_impossible_widths_are_refused(units):
    with pytest.raises(ValueError, match="expected one or more widths"):
        MLP(units)
