"""Decay of all rows of a table at every step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdlrm.layers import EmbeddingCollection
from tfdlrm.optimizers import (
    SGD,
    Adagrad,
    LazyAdam,
    LossScaleOptimizer,
    RowWiseAdagrad,
    WarmUpPolynomialDecay,
)

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(6, 3)).astype("float32")
BATCHES = [
    (RNG.integers(0, 4, 5), RNG.normal(size=(5, 3)).astype("float32")) for _ in range(6)
]


def embedding_table(values=TABLE):
    table = keras.Variable(values, name="table")
    table.is_embedding_table = True
    return table


def trained(optimizer, other=None):
    """The table after all batches, and another variable, which has no decay."""
    variables = [embedding_table()]
    if other is None:
        optimizer.build(variables)
    others = [] if other is None else [keras.Variable(other)]
    for rows, values in BATCHES:
        gradient = tf.IndexedSlices(tf.constant(values), tf.constant(rows))
        gradients = [gradient, *(tf.ones_like(variable) for variable in others)]
        optimizer.apply(gradients, [*variables, *others])
    return [variable.numpy() for variable in (*variables, *others)]


def dense_gradients():
    for rows, values in BATCHES:
        gradient = np.zeros(TABLE.shape)
        np.add.at(gradient, rows, values.astype(np.float64))
        yield gradient


def by_numpy(step, l2=0.0, weight_decay=0.0, rate=0.1):
    """The table in float64, by a function from a gradient to what a step subtracts."""
    table = TABLE.astype(np.float64)
    for gradient in dense_gradients():
        change = step(gradient + 2 * l2 * table)
        table = table - rate * weight_decay * table - rate * change
    return table


def adagrad(mean_axis=None):
    total = np.zeros(TABLE.shape if mean_axis is None else (len(TABLE), 1))

    def step(gradient):
        nonlocal total
        squares = gradient**2
        if mean_axis is not None:
            squares = squares.mean(axis=mean_axis, keepdims=True)
        total = total + squares
        return gradient / (np.sqrt(total) + 1e-10)

    return step


def adam():
    first, second, steps = np.zeros(TABLE.shape), np.zeros(TABLE.shape), 0

    def step(gradient):
        nonlocal first, second, steps
        steps += 1
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        correction = np.sqrt(1 - 0.999**steps) / (1 - 0.9**steps)
        return correction * first / (np.sqrt(second) + 1e-7)

    return step


STEPS = {
    SGD: lambda: lambda gradient: gradient,
    Adagrad: adagrad,
    RowWiseAdagrad: lambda: adagrad(mean_axis=1),
    LazyAdam: adam,
}


@pytest.mark.parametrize("optimizer", STEPS)
def test_l2_of_all_rows_is_that_of_the_whole_table(optimizer):
    expected = by_numpy(STEPS[optimizer](), l2=0.3)
    (table,) = trained(optimizer(0.1, table_l2=0.3, decay_of="all"))
    np.testing.assert_allclose(table, expected, rtol=1e-4, atol=1e-6)
    assert not np.allclose(table[4:], TABLE[4:])  # which no batch names


def test_adam_with_l2_of_all_rows_is_that_of_keras():
    expected = keras.Variable(TABLE)
    alone = keras.optimizers.Adam(0.1)
    for gradient in dense_gradients():
        alone.apply([tf.constant(gradient, tf.float32) + 0.6 * expected], [expected])
    (table,) = trained(LazyAdam(0.1, table_l2=0.3, decay_of="all"))
    np.testing.assert_allclose(table, expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", [SGD, Adagrad, RowWiseAdagrad])
def test_decoupled_decay_of_all_rows_comes_before_the_step(optimizer):
    expected = by_numpy(STEPS[optimizer](), weight_decay=0.5, l2=0.2)
    options = {"table_weight_decay": 0.5, "table_l2": 0.2, "decay_of": "all"}
    (table,) = trained(optimizer(0.1, **options))
    np.testing.assert_allclose(table, expected, rtol=1e-4, atol=1e-6)


def test_lazy_moments_stay_lazy_with_decoupled_decay():
    (table,) = trained(LazyAdam(0.1, table_weight_decay=0.5, decay_of="all"))
    np.testing.assert_allclose(table[4:], TABLE[4:] * 0.95 ** len(BATCHES), rtol=1e-5)


def test_only_tables_decay():
    bias = np.ones(2, np.float32)
    options = {"table_l2": 0.3, "table_weight_decay": 0.5, "decay_of": "all"}
    _, decayed = trained(SGD(0.1, **options), bias)
    _, expected = trained(SGD(0.1), bias)
    np.testing.assert_array_equal(decayed, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"table_l2": -1.0}, "expected numbers >= 0"),
        ({"decay_of": "some"}, "expected 'touched' or 'all'"),
        ({"table_l2": 1.0, "decay_of": "all", "clipnorm": 1.0}, "does not clip"),
        ({"weight_decay": 0.1}, "set table_weight_decay"),
    ],
)
def test_impossible_decay_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SGD(0.1, **options)


def test_a_saved_optimizer_keeps_its_decay():
    optimizer = Adagrad(0.1, table_l2=0.3, table_weight_decay=0.5, decay_of="all")
    config = Adagrad.from_config(optimizer.get_config()).get_config()
    assert config == optimizer.get_config()
    assert config["table_l2"] == 0.3
    assert "table_l2" not in Adagrad(0.1).get_config()


def schedule():
    return WarmUpPolynomialDecay(0.1, 4, decay_start_step=6, decay_steps=5)


def late_by_numpy(step, share):
    """The table in float64, of which every row decays at every step."""
    table = TABLE.astype(np.float64)
    for number, gradient in enumerate(dense_gradients()):
        rate = float(schedule()(number))
        table = table * (1 - rate * share) - rate * step(gradient)
    return table


@pytest.mark.parametrize("optimizer", [SGD, Adagrad, RowWiseAdagrad])
def test_rows_catch_up_on_all_that_they_missed(optimizer):
    late = optimizer(schedule(), table_weight_decay=2.0)
    (stored,) = variables = [embedding_table()]
    late.build(variables)
    for rows, values in BATCHES:
        gradient = tf.IndexedSlices(tf.constant(values), tf.constant(rows))
        late.apply([gradient], variables)
    np.testing.assert_array_equal(stored.numpy()[4:], TABLE[4:])
    late.catch_up()
    expected = late_by_numpy(STEPS[optimizer](), 2.0)
    np.testing.assert_allclose(stored.numpy(), expected, rtol=1e-5, atol=1e-6)
    before = stored.numpy()
    late.catch_up()
    np.testing.assert_array_equal(stored.numpy(), before)


def test_rows_with_lazy_moments_catch_up_too():
    options = {"table_weight_decay": 2.0}
    (expected,) = trained(LazyAdam(schedule(), **options, decay_of="all"))
    late = LazyAdam(schedule(), **options)
    (table,) = trained(late)
    late.catch_up()
    assert np.abs(table[4:] - expected[4:]).max() > 0.1
    assert late.late_decay is not None
    np.testing.assert_allclose(
        late.late_decay.tables[0].numpy(), expected, rtol=1e-5, atol=1e-6
    )


def test_l2_of_sgd_catches_up_as_decoupled_decay_does():
    late = SGD(schedule(), table_l2=0.5, table_weight_decay=1.0)
    trained(late)
    late.catch_up()
    expected = late_by_numpy(lambda gradient: gradient, 2.0)
    (table,) = late.late_decay.tables
    np.testing.assert_allclose(table.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_dense_gradient_lets_all_rows_catch_up():
    late, table = SGD(0.1, table_weight_decay=2.0), embedding_table()
    late.build([table])
    sparse = tf.IndexedSlices(tf.zeros((1, 3)), tf.constant([1]))
    for gradient in (sparse, tf.zeros(TABLE.shape)):
        late.apply([gradient], [table])
    np.testing.assert_allclose(table.numpy(), TABLE * 0.8**2, rtol=1e-6)


def of_lookups(decay_of):
    """What a trained model scores, its loss, its rows and its dense weights."""
    keras.utils.set_random_seed(1)
    ids = keras.Input((2,), dtype="int64")
    embeddings = EmbeddingCollection([5, 4], 3)
    vectors = keras.layers.Flatten()(embeddings(ids))
    model = keras.Model(ids, keras.layers.Dense(1)(vectors))
    optimizer = Adagrad(0.1, table_weight_decay=3.0, decay_of=decay_of)
    optimizer.build(model.trainable_variables)
    model.compile(LossScaleOptimizer(optimizer), "mse")
    rows = np.array([[0, 0], [1, 1], [1, 2], [4, 3], [0, 2], [4, 0]])
    model.fit(rows, np.ones(6), batch_size=1, shuffle=False, verbose=0)
    measured = [model.predict(rows, verbose=0), embeddings(rows), model.weights[-2]]
    lags = not np.allclose(embeddings.tables[0][1], embeddings(rows)[1, 0])
    assert lags == (decay_of == "touched")
    return list(map(np.asarray, measured))


@pytest.mark.slow
def test_lookups_read_what_a_step_at_a_time_would_leave():
    for values, expected in zip(of_lookups("touched"), of_lookups("all"), strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("optimizer", "options", "message"),
    [
        (Adagrad, {"table_l2": 0.1}, "steps depend on the penalty at every step befor"),
        (SGD, {"table_l2": 0.1}, "embeddings cannot read"),
    ],
)
def test_what_cannot_catch_up_is_refused(optimizer, options, message):
    layer = keras.layers.Embedding(5, 3)
    layer.build()
    with pytest.raises(ValueError, match=message):
        optimizer(0.1, **options).build(layer.trainable_variables)


def test_an_optimizer_that_is_built_too_late_is_refused():
    ids = keras.Input((1,), dtype="int64")
    model = keras.Model(ids, EmbeddingCollection([5], 3)(ids))
    model.compile(SGD(0.1, table_weight_decay=1.0), "mse")
    with pytest.raises(ValueError, match="built before the first step"):
        model.fit(np.zeros((2, 1), int), np.ones((2, 1, 3)), verbose=0)


def test_a_step_takes_away_no_more_than_all():
    late, table = SGD(0.5, table_weight_decay=4.0), embedding_table()
    late.build([table])
    late.apply([tf.IndexedSlices(tf.zeros((1, 3)), tf.constant([1]))], [table])
    late.catch_up()
    np.testing.assert_allclose(table.numpy(), 0.0, atol=1e-6)
