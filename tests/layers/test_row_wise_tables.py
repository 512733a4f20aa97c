"""The variables that `RowWiseAdagrad` treats as tables, however it is built."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdlrm.optimizers import LossScaleOptimizer, RowWiseAdagrad

ROWS, DIM = 6, 4
rng = np.random.default_rng(0)
IDS = rng.integers(0, ROWS, (5, 8))
VALUES = rng.normal(size=(5, 8, DIM))


@keras.saving.register_keras_serializable("tests")
class OwnTable(keras.layers.Layer):
    """A layer that looks up in a weight that nothing marks as a table."""

    def build(self, shape):
        self.rows = self.add_weight(name="rows", shape=(ROWS, DIM))

    def call(self, ids):
        return tf.nn.embedding_lookup(self.rows.value, ids)

    def compute_output_shape(self, shape):
        return (*shape, DIM)


def exact(steps, rate=0.1):
    """Return a table of ones after row-wise Adagrad in float64."""
    table, squares = np.ones((ROWS, DIM)), np.zeros(ROWS)
    for ids, values in zip(IDS[:steps], VALUES[:steps], strict=True):
        gradient = np.zeros((ROWS, DIM))
        np.add.at(gradient, ids, values)
        squares += np.mean(gradient**2, axis=1)
        named = np.unique(ids)
        table[named] -= rate * gradient[named] / np.sqrt(squares[named, None])
    return table


def apply(optimizer, variable, steps, first=0):
    for ids, values in zip(IDS[first:steps], VALUES[first:steps], strict=True):
        slices = tf.IndexedSlices(tf.constant(values, tf.float32), tf.constant(ids))
        optimizer.apply([slices], [variable])


def ones():
    return tf.Variable(np.ones((ROWS, DIM), "float32"))


def state_shapes(optimizer):
    return [tuple(state.shape) for state in optimizer.variables[2:]]


@pytest.mark.parametrize("tables", [(), [0]])
@pytest.mark.parametrize("built", [False, True])
def test_steps_and_state_are_the_same_built_before_or_not(built, tables):
    variable, optimizer = ones(), RowWiseAdagrad(0.1, tables=tables)
    if built:
        optimizer.build([variable])
    apply(optimizer, variable, steps=5)
    np.testing.assert_allclose(variable, exact(5), rtol=1e-5)
    assert state_shapes(optimizer) == [(ROWS,)]


def test_a_position_that_is_no_table_has_full_state_after_all():
    variable, optimizer = ones(), RowWiseAdagrad(0.1, tables=[0])
    optimizer.apply([tf.fill((ROWS, DIM), 3.0)], [variable])
    np.testing.assert_allclose(variable, np.full((ROWS, DIM), 0.9), rtol=1e-6)
    assert state_shapes(optimizer) == [(ROWS, DIM)]
    assert "tables" not in optimizer.get_config()


def test_state_that_was_put_there_is_kept_in_full_size():
    variable, optimizer = ones(), RowWiseAdagrad(0.1)
    optimizer.build([variable])
    optimizer.variables[2].assign(np.full((ROWS, DIM), 5.0))
    optimizer.apply([tf.IndexedSlices(tf.constant([[4.0, 0, 0, 0]]), [1])], [variable])
    assert state_shapes(optimizer) == [(ROWS, DIM)]
    # 5 + the mean of 16, 0, 0 and 0 is 9.
    np.testing.assert_allclose(variable[1], [1 - 0.1 * 4 / 3, 1, 1, 1], rtol=1e-6)


def test_variables_keep_their_order():
    bias, table = tf.Variable(np.zeros(2, "float32")), ones()
    optimizer = RowWiseAdagrad(0.1)
    optimizer.build([table, bias])
    slices = tf.IndexedSlices(tf.ones((1, DIM)), [1])
    optimizer.apply([slices, tf.ones(2)], [table, bias])
    assert state_shapes(optimizer) == [(ROWS,), (2,)]


def test_tensorflows_own_checkpoints_hold_the_new_state(tmp_path):
    variable, optimizer = ones(), RowWiseAdagrad(0.1)
    apply(optimizer, variable, steps=3)
    path = tf.train.Checkpoint(optimizer=optimizer).save(str(tmp_path / "c"))
    shapes = [tuple(shape) for _, shape in tf.train.list_variables(path)]
    assert (ROWS,) in shapes
    assert shapes.count((ROWS, DIM)) == 1  # the table itself


class Store(dict):
    """A store of variables, like that of a Keras file."""


@pytest.mark.parametrize("with_config", [False, True])
def test_what_was_saved_goes_on_alike(with_config):
    variable, optimizer = ones(), RowWiseAdagrad(0.1)
    apply(optimizer, variable, steps=3)
    store = Store()
    optimizer.save_own_variables(store)
    config = optimizer.get_config()
    again = tf.Variable(variable)
    loaded = RowWiseAdagrad(0.1)
    if with_config:
        loaded = RowWiseAdagrad.from_config(config)
    loaded.build([again])
    loaded.load_own_variables(store)
    assert state_shapes(loaded) == [(ROWS,)]
    apply(loaded, again, steps=5, first=3)
    np.testing.assert_allclose(again, exact(5), rtol=1e-5)


def own_model(optimizer, **compile_options):
    keras.utils.set_random_seed(3)
    ids = keras.Input((2,), dtype="int64")
    outputs = keras.layers.Dense(1)(keras.layers.Flatten()(OwnTable()(ids)))
    model = keras.Model(ids, outputs)
    model.compile(optimizer, "mse", **compile_options)
    return model


X = rng.integers(0, ROWS, (32, 2))
Y = rng.normal(size=(32, 1)).astype("float32")


def fit(model):
    model.fit(X, Y, batch_size=16, shuffle=False, verbose=0)
    return model.get_weights()


@pytest.mark.slow_variants
@pytest.mark.parametrize("wrap", [None, LossScaleOptimizer])
def test_a_saved_model_is_loaded_and_trained_on_alike(wrap, tmp_path):
    model = own_model(wrap(RowWiseAdagrad(0.1)) if wrap else RowWiseAdagrad(0.1))
    fit(model)
    shapes = [tuple(variable.shape) for variable in model.optimizer.variables]
    assert (ROWS,) in shapes
    assert (ROWS, DIM) not in shapes
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert [tuple(variable.shape) for variable in loaded.optimizer.variables] == shapes
    for expected, actual in zip(fit(model), fit(loaded), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    "strategy",
    [
        lambda: tf.distribute.MirroredStrategy(["cpu:0"]),
        lambda: tf.distribute.OneDeviceStrategy("cpu:0"),
    ],
)
def test_a_strategy_changes_nothing(strategy):
    expected = fit(own_model(RowWiseAdagrad(0.1)))
    with strategy().scope():
        model = own_model(RowWiseAdagrad(0.1))
    for alone, placed in zip(expected, fit(model), strict=True):
        np.testing.assert_allclose(placed, alone, rtol=1e-5)
    assert (ROWS,) in [tuple(variable.shape) for variable in model.optimizer.variables]
