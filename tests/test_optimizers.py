import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfdlrm import optimizers

ROWS, DIM = 7, 3


def exact_sgd(table, state, gradient, touched):
    table -= 0.1 * gradient


def exact_adagrad(table, state, gradient, touched):
    state += gradient**2
    table[touched] -= 0.1 * gradient[touched] / (np.sqrt(state[touched]) + 1e-10)


RULES = {
    "sgd": (optimizers.SGD, exact_sgd),
    "adagrad": (optimizers.Adagrad, exact_adagrad),
}


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.lists(st.integers(0, ROWS - 1), min_size=1), min_size=1))
def test_repeated_ids_are_summed_first(name, steps):
    optimizer_class, exact_update = RULES[name]
    rng = np.random.default_rng(0)
    table = rng.normal(size=(ROWS, DIM))
    state = np.zeros((ROWS, DIM))
    variable = tf.Variable(table, dtype=tf.float32)
    optimizer = optimizer_class(learning_rate=0.1)
    for ids in steps:
        values = rng.normal(size=(len(ids), DIM))
        slices = tf.IndexedSlices(tf.constant(values, tf.float32), tf.constant(ids))
        optimizer.apply([slices], [variable])
        gradient = np.zeros((ROWS, DIM))
        np.add.at(gradient, ids, values)
        exact_update(table, state, gradient, np.unique(ids))
    np.testing.assert_allclose(variable, table, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", RULES)
def test_a_dense_gradient_is_applied_alike(name):
    optimizer_class, exact_update = RULES[name]
    gradient = np.random.default_rng(0).normal(size=(ROWS, DIM))
    table = np.ones((ROWS, DIM))
    variable = tf.Variable(table, dtype=tf.float32)
    optimizer = optimizer_class(learning_rate=0.1)
    optimizer.apply([tf.constant(gradient, tf.float32)], [variable])
    exact_update(table, np.zeros((ROWS, DIM)), gradient, np.arange(ROWS))
    np.testing.assert_allclose(variable, table, rtol=1e-5)


def test_keras_own_adagrad_squares_repeated_ids_one_by_one():
    """Why this module exists; the right accumulator of row 1 is (1 + 1 + 1)² + 0.1."""
    slices = tf.IndexedSlices(tf.ones((4, 1)), tf.constant([1, 1, 1, 2]), (3, 1))
    accumulators = []
    for optimizer in (
        keras.optimizers.Adagrad(0.1, initial_accumulator_value=0.1),
        optimizers.Adagrad(0.1, initial_accumulator_value=0.1),
    ):
        variable = keras.Variable(np.zeros((3, 1), "float32"))
        optimizer.build([variable])
        optimizer.apply([slices], [variable])
        accumulators.append(optimizer.variables[-1].numpy()[1, 0])
    assert accumulators == pytest.approx([3.1, 9.1])


def test_rows_outside_the_batch_stay_as_they_are():
    variable = tf.Variable(np.random.default_rng(0).normal(size=(ROWS, DIM)))
    before = variable.numpy()
    slices = tf.IndexedSlices(tf.ones((2, DIM), tf.float64), tf.constant([2, 5]))
    optimizers.Adagrad(0.1).apply([slices], [variable])
    changed = (variable.numpy() != before).any(axis=1)
    assert np.flatnonzero(changed).tolist() == [2, 5]


@pytest.mark.parametrize("name", RULES)
def test_state_and_settings_survive_saving(name, tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(RULES[name][0](learning_rate=0.25), loss="mse")
    x, y = np.ones((4, 2)), np.zeros((4, 1))
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is RULES[name][0]
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    for each in (model, loaded):
        each.fit(x, y, verbose=0)
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("option", ["weight_decay", "clipnorm", "use_ema"])
def test_what_would_touch_the_whole_table_is_refused(name, option):
    with pytest.raises(ValueError, match=f"does not support {option}"):
        RULES[name][0](**{option: 1.0})
