"""Optimizers of variables that have 16 bits themselves, against float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.optimizers.test_optimizers import RULES, make
from tfdlrm.layers import EmbeddingCollection

NARROW = ["float16", "bfloat16"]


def gradients(dtype, sparse):
    """Return a gradient of 3 for row 1 of two; if sparse, in many small parts."""
    if sparse:
        values = tf.fill((3000, 3), tf.cast(0.001, dtype))
        return tf.IndexedSlices(values, tf.ones(3000, tf.int32), (2, 3))
    exact = np.zeros((2, 3))
    exact[1] = 3
    return tf.cast(exact, dtype)


@pytest.mark.slow_variants
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("name", RULES)
def test_a_step_is_the_exact_one_rounded_once(name, sparse, dtype):
    variable = tf.Variable(tf.ones((2, 3), dtype))
    optimizer = make(name, learning_rate=0.1)
    table, state, gradient = np.ones((2, 3)), {}, np.zeros((2, 3))
    # In 16 bits the sum would be a fraction of this.
    gradient[1] = float(tf.cast(0.001, dtype)) * 3000 if sparse else 3
    formula = RULES["Adagrad" if name == "RowWiseAdagrad" and not sparse else name]
    for _ in range(3):
        optimizer.apply([gradients(dtype, sparse)], [variable])
        formula(table, state, gradient, np.array([1]))
        table = tf.cast(tf.cast(table, dtype), tf.float64).numpy()
    actual = tf.cast(variable, tf.float64)
    np.testing.assert_allclose(
        actual, table, rtol=2**-7 if dtype == "bfloat16" else 4e-3
    )


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("name", RULES)
def test_state_is_float32(name, dtype):
    variable = tf.Variable(tf.ones((2, 3), dtype))
    optimizer = make(name, learning_rate=0.1)
    optimizer.apply([gradients(dtype, True)], [variable])
    assert {state.dtype for state in optimizer.variables[2:]} <= {"float32"}
    assert variable.dtype == dtype


@pytest.mark.slow_variants
@pytest.mark.parametrize("dtype", [*NARROW, "float32"])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("name", RULES)
def test_zero_gradients_move_nothing(name, sparse, dtype):
    variable = tf.Variable(tf.ones((2, 3), dtype))
    zeros = tf.zeros((2, 3), dtype)
    gradient = tf.IndexedSlices(zeros, [0, 1], (2, 3)) if sparse else zeros
    make(name, learning_rate=0.1).apply([gradient], [variable])
    assert tf.reduce_all(variable == tf.ones((2, 3), dtype))


@pytest.mark.slow_variants
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("name", RULES)
def test_models_of_16_bits_are_fitted(name, dtype):
    keras.utils.set_random_seed(0)
    ids = keras.Input((2,), dtype="int64")
    vectors = EmbeddingCollection([4, 4], 8, dtype=dtype)(ids)
    outputs = keras.layers.Dense(1, dtype=dtype)(
        keras.layers.Flatten(dtype=dtype)(vectors)
    )
    model = keras.Model(ids, outputs)
    model.compile(make(name, learning_rate=0.05), "mse")
    x = np.random.default_rng(0).integers(0, 4, (512, 2))
    y = (x[:, :1] - 1.5).astype("float32")
    losses = model.fit(x, y, batch_size=64, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 2
