"""A table of more numbers than 32 bits can count, on a GPU with room for it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdlrm import optimizers
from tfdlrm.layers import EmbeddingCollection

DIM = 64
NUM_ROWS = 2**31 // DIM + 8


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RowWiseAdagrad", "LazyAdam"])
def test_the_last_rows_of_a_large_table_are_read_and_written(name):
    keras.backend.clear_session()  # of the table before this one
    with tf.device("GPU:0"):
        layer = EmbeddingCollection([NUM_ROWS], DIM)
        layer.build()
    optimizer = getattr(optimizers, name)(0.5)
    optimizer.build(layer.trainable_variables)
    first_and_last = np.r_[:4, NUM_ROWS - 4 : NUM_ROWS][:, None]

    @tf.function
    def step(ids):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(layer(ids))
        variables = [variable.value for variable in layer.trainable_variables]
        gradients = tape.gradient(total, variables)
        optimizer.apply(gradients, layer.trainable_variables)

    before = layer(first_and_last).numpy()
    step(first_and_last[4:])
    after = layer(first_and_last).numpy()
    np.testing.assert_array_equal(after[:4], before[:4])
    # With a gradient of ones the first step of every rule is the learning rate.
    np.testing.assert_allclose(after[4:], before[4:] - 0.5, rtol=1e-4, atol=1e-5)
