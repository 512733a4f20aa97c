import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfdlrm import optimizers
from tfdlrm.layers import EmbeddingCollection
from tfdlrm.training.distribution import strategy

ROWS, DIM = 7, 3


def exact_sgd(table, state, gradient, touched):
    table -= 0.1 * gradient


def exact_adagrad(table, state, gradient, touched):
    squares = state.setdefault("a", np.zeros_like(table))
    squares += gradient**2
    table[touched] -= 0.1 * gradient[touched] / (np.sqrt(squares[touched]) + 1e-10)


def exact_row_wise_adagrad(table, state, gradient, touched):
    squares = state.setdefault("a", np.zeros(len(table)))
    squares += np.mean(gradient**2, axis=1)
    roots = np.sqrt(squares[touched, None]) + 1e-10
    table[touched] -= 0.1 * gradient[touched] / roots


def exact_lazy_adam(table, state, gradient, touched):
    m = state.setdefault("m", np.zeros_like(table))
    v = state.setdefault("v", np.zeros_like(table))
    t = state["t"] = state.get("t", 0) + 1
    m[touched] = 0.9 * m[touched] + 0.1 * gradient[touched]
    v[touched] = 0.999 * v[touched] + 0.001 * gradient[touched] ** 2
    rate = 0.1 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    table[touched] -= rate * m[touched] / (np.sqrt(v[touched]) + 1e-7)


RULES = {
    "SGD": exact_sgd,
    "Adagrad": exact_adagrad,
    "RowWiseAdagrad": exact_row_wise_adagrad,
    "LazyAdam": exact_lazy_adam,
}

# Two of them; the others are slow tests.
SAMPLE = [
    pytest.param(
        name, marks=[] if name in ("Adagrad", "LazyAdam") else pytest.mark.slow
    )
    for name in RULES
]


def make(name, **kwargs):
    return getattr(optimizers, name)(**kwargs)


@pytest.mark.slow_variants
@pytest.mark.parametrize("name", RULES)
@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.lists(st.integers(0, ROWS - 1), min_size=1), min_size=1))
def test_repeated_ids_are_summed_first(name, steps):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(ROWS, DIM))
    state = {}
    variable = tf.Variable(table, dtype=tf.float32)
    optimizer = make(name, learning_rate=0.1)
    for ids in steps:
        values = rng.normal(size=(len(ids), DIM))
        slices = tf.IndexedSlices(tf.constant(values, tf.float32), tf.constant(ids))
        optimizer.apply([slices], [variable])
        gradient = np.zeros((ROWS, DIM))
        np.add.at(gradient, ids, values)
        RULES[name](table, state, gradient, np.unique(ids))
    np.testing.assert_allclose(variable, table, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("compiled", [False, True])
def test_dense_gradients_are_applied_alike(name, compiled):
    # An `EmbeddingCollection` marks its tables; other variables have full state.
    formula = RULES["Adagrad" if name == "RowWiseAdagrad" else name]
    rng = np.random.default_rng(0)
    table, state = np.ones((ROWS, DIM)), {}
    variable = tf.Variable(table, dtype=tf.float32)
    optimizer = make(name, learning_rate=0.1)
    optimizer.build([variable])
    apply = tf.function(optimizer.apply) if compiled else optimizer.apply
    for _ in range(3):
        gradient = rng.normal(size=(ROWS, DIM))
        apply([tf.constant(gradient, tf.float32)], [variable])
        formula(table, state, gradient, np.arange(ROWS))
    np.testing.assert_allclose(variable, table, rtol=1e-5)


def test_lazy_adam_is_adam_where_every_row_is_touched():
    rng = np.random.default_rng(0)
    lazy_weights, adam_weights = (
        keras.Variable(np.ones((ROWS, DIM), "float32")) for _ in range(2)
    )
    lazy, adam = optimizers.LazyAdam(0.1), keras.optimizers.Adam(0.1)
    for _ in range(5):
        gradient = tf.constant(rng.normal(size=(ROWS, DIM)), tf.float32)
        lazy.apply([tf.IndexedSlices(gradient, tf.range(ROWS))], [lazy_weights])
        adam.apply([gradient], [adam_weights])
    np.testing.assert_allclose(lazy_weights, adam_weights, rtol=1e-5)


def test_row_wise_state_is_one_number_a_row():
    model = click_model()
    optimizer = optimizers.RowWiseAdagrad(0.1)
    optimizer.build(model.trainable_variables)
    shapes = [variable.shape for variable in optimizer.variables[2:]]
    assert shapes == [(30,), (8, 1), (1,)]


def test_a_dense_gradient_of_a_table_moves_it_row_wise():
    layer = EmbeddingCollection([ROWS], DIM)
    layer.build()
    layer.tables[0].assign(np.ones((ROWS, DIM)))
    gradient = np.random.default_rng(0).normal(size=(ROWS, DIM))
    optimizer = optimizers.RowWiseAdagrad(0.1)
    optimizer.apply([tf.constant(gradient, tf.float32)], layer.tables)
    expected = np.ones((ROWS, DIM))
    exact_row_wise_adagrad(expected, {}, gradient, np.arange(ROWS))
    np.testing.assert_allclose(layer.tables[0], expected, rtol=1e-5)


def test_keras_own_adagrad_squares_repeated_ids_one_by_one():
    """Show why this module exists; row 1 should have (1 + 1 + 1)² + 0.1."""
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
    old_rows = variable.numpy()
    slices = tf.IndexedSlices(tf.ones((2, DIM), tf.float64), tf.constant([2, 5]))
    optimizers.Adagrad(0.1).apply([slices], [variable])
    changed = (variable.numpy() != old_rows).any(axis=1)
    assert np.flatnonzero(changed).tolist() == [2, 5]


def click_model():
    ids = keras.Input((2,), dtype="int64")
    vectors = EmbeddingCollection([10, 20], embedding_dim=4)(ids)
    outputs = keras.layers.Dense(1)(keras.layers.Flatten()(vectors))
    return keras.Model(ids, outputs)


def click_batches(num_batches, batch_size=32):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, [10, 20], (num_batches * batch_size, 2))
    labels = rng.normal(size=(num_batches * batch_size, 1)).astype("float32")
    return tf.data.Dataset.from_tensor_slices((ids, labels)).batch(batch_size)


def trained_weights(name, strategy_name="default", **compile_options):
    """Return weights after an epoch from fixed initial ones."""
    with strategy(strategy_name).scope():
        keras.utils.set_random_seed(0)
        model = click_model()
        model.compile(make(name, learning_rate=0.05), "mse", **compile_options)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.weights])
    model.fit(click_batches(8), verbose=0, shuffle=False)
    return model.get_weights()


@pytest.mark.slow_variants
@pytest.mark.parametrize("name", SAMPLE)
def test_two_devices_train_as_one_does(name):
    single = trained_weights(name)
    mirrored = trained_weights(name, "mirrored")
    for expected, actual in zip(single, mirrored, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow_variants
@pytest.mark.parametrize("name", SAMPLE)
def test_several_steps_in_one_execution_change_nothing(name):
    single = trained_weights(name)
    grouped = trained_weights(name, steps_per_execution=4)
    for expected, actual in zip(single, grouped, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow_variants
@pytest.mark.parametrize("name", SAMPLE)
def test_mixed_precision_keeps_weights_and_state_in_float32(name):
    full = trained_weights(name)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = trained_weights(name)
    finally:
        keras.config.set_dtype_policy("float32")
    for expected, actual in zip(full, mixed, strict=True):
        assert actual.dtype == np.float32
        np.testing.assert_allclose(actual, expected, atol=0.1)


@pytest.mark.slow_variants
@pytest.mark.parametrize("name", RULES)
def test_state_and_settings_survive_saving(name, tmp_path):
    model = click_model()
    model.compile(make(name, learning_rate=0.25), loss="mse")
    model.fit(click_batches(2), verbose=0, shuffle=False)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is getattr(optimizers, name)
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    for candidate in (model, loaded):
        candidate.fit(click_batches(2), verbose=0, shuffle=False)
    for actual, expected in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("option", ["weight_decay", "use_ema"])
def test_what_would_touch_the_whole_table_is_refused(name, option):
    with pytest.raises(ValueError, match=f"does not support {option}"):
        make(name, **{option: 1.0})


def reference_rates(rate, warm_up, decay_start, decay, num_steps):
    """Return rates computed step by step from the last one, as in the reference."""
    rates, rate_so_far = [], rate
    for step in range(1, num_steps + 1):
        if step < warm_up:
            rate_so_far = rate * step / warm_up
            rates.append(rate_so_far)
        elif decay and decay_start <= step < decay_start + decay:
            rate_so_far = rate * ((decay - (step - decay_start)) / decay) ** 2
            rates.append(rate_so_far)
        else:
            rates.append(rate_so_far if decay else rate)
    return rates


@pytest.mark.parametrize(
    ("warm_up", "decay_start", "decay"),
    [(0, 0, 0), (5, 0, 0), (5, 9, 4), (5, 5, 20), (0, 3, 4), (1, 3, 2)],
)
def test_the_rate_warms_up_and_decays_as_the_references(warm_up, decay_start, decay):
    schedule = optimizers.WarmUpPolynomialDecay(2.0, warm_up, decay_start, decay)
    expected = reference_rates(2.0, warm_up, decay_start, decay, 20)
    actual = [float(schedule(step)) for step in range(20)]
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_the_optimizer_follows_its_schedule():
    schedule = optimizers.WarmUpPolynomialDecay(1.0, warm_up_steps=4)
    optimizer = optimizers.SGD(schedule)
    variable = tf.Variable([[0.0]])
    for _ in range(5):
        optimizer.apply([tf.ones((1, 1))], [variable])
    assert variable.numpy() == pytest.approx(-(0.25 + 0.5 + 0.75 + 1 + 1))


def test_a_decay_within_the_warm_up_is_refused():
    with pytest.raises(ValueError, match="expected the decay to start after"):
        optimizers.WarmUpPolynomialDecay(1.0, 10, decay_start_step=5, decay_steps=5)
