import keras
import numpy as np
import pytest

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
