import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdlrm.layers import MLP, BatchNormalization

RNG = np.random.default_rng(0)


def rows(number, offset=0.0, units=5):
    return RNG.normal(offset, 2, (number, units)).astype("float32")


def statistics(layer):
    return layer.moving_mean.numpy(), layer.moving_variance.numpy()


def trained(*batches, **arguments):
    """Return a layer that has seen these batches."""
    layer = BatchNormalization(**arguments)
    for batch in batches:
        layer(batch, training=True)
    return layer


def test_a_training_step_is_that_of_keras():
    inputs = tf.constant(rows(16, offset=3))
    weights = tf.constant(rows(16))
    own, other = BatchNormalization(), keras.layers.BatchNormalization(epsilon=1e-5)
    results = []
    for layer in (own, other):
        layer.build(inputs.shape)
        layer.gamma.assign([0.5, 1, 2, -1, 3])
        layer.beta.assign([1, 2, 3, 4, 5])
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True)
            loss = tf.reduce_sum(outputs * weights)
        variables = [inputs, *layer.trainable_variables]
        results.append([outputs, *tape.gradient(loss, variables)])
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_inference_uses_the_moving_statistics():
    layer = trained(rows(16), rows(16, offset=1))
    inputs = rows(4)
    mean, variance = statistics(layer)
    expected = (inputs - mean) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(layer(inputs), expected, rtol=1e-5, atol=1e-5)


def test_moving_statistics_count_rows_and_forget_them():
    batches = [rows(8, 1), rows(20, 2), rows(3, 9)]
    layer = trained(*batches, momentum=0.75)
    weights = np.array([8 * 0.75**2, 20 * 0.75, 3])
    for actual, measure in zip(statistics(layer), (np.mean, np.var), strict=True):
        values = [measure(batch.astype("float64"), axis=0) for batch in batches]
        expected = np.average(values, axis=0, weights=weights)
        np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_after_one_batch_inference_is_training():
    batch = rows(8, 5)
    layer = BatchNormalization()
    np.testing.assert_array_equal(layer(batch, training=True), layer(batch))


def test_a_last_batch_of_two_rows_hardly_moves_the_statistics():
    layer = trained(*(rows(256) for _ in range(4)), momentum=0.5)
    before = statistics(layer)
    layer(rows(2, offset=100), training=True)
    layer_mean, layer_variance = statistics(layer)
    assert np.abs(layer_mean - before[0]).max() < 1
    np.testing.assert_allclose(layer_variance, before[1], rtol=0.05)


def test_a_batch_of_one_row_is_normalized_by_the_moving_statistics():
    layer = trained(rows(16, 3))
    before, row = statistics(layer), rows(1)
    expected = layer(row)
    np.testing.assert_array_equal(layer(row, training=True), expected)
    np.testing.assert_array_equal(statistics(layer), before)


def test_batches_of_one_row_from_the_start_leave_values_as_they_are():
    layer, row = BatchNormalization(), rows(1)
    for _ in range(3):
        np.testing.assert_allclose(layer(row, training=True), row, rtol=1e-4)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_batch_that_overflowed_leaves_the_statistics_alone(value):
    layer = trained(rows(8))
    before, broken = statistics(layer), rows(8)
    broken[3, 2] = value
    layer(broken, training=True)
    np.testing.assert_array_equal(statistics(layer), before)


def test_a_frozen_layer_changes_nothing():
    layer = trained(rows(8, 2))
    layer.trainable = False
    before, batch = statistics(layer), rows(8, 7)
    np.testing.assert_array_equal(layer(batch, training=True), layer(batch))
    np.testing.assert_array_equal(statistics(layer), before)


def test_statistics_of_16_bits_are_computed_in_32():
    layer = BatchNormalization(dtype="mixed_bfloat16")
    batch = tf.cast(rows(4096, offset=20), tf.bfloat16)
    outputs = layer(batch, training=True)
    assert outputs.dtype == tf.bfloat16
    exact = batch.numpy().astype("float64")
    np.testing.assert_allclose(layer.moving_mean, exact.mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, exact.var(0), rtol=1e-4)


def test_large_means_do_not_drown_the_variance():
    batch = rows(64, offset=1000)
    layer = trained(batch)
    expected = batch.astype("float64").var(axis=0)
    np.testing.assert_allclose(layer.moving_variance, expected, rtol=1e-3)


def test_positions_of_a_sequence_are_rows():
    sequences = RNG.normal(size=(4, 3, 5)).astype("float32")
    flat = BatchNormalization()(sequences.reshape(12, 5), training=True)
    outputs = BatchNormalization()(sequences, training=True)
    np.testing.assert_allclose(tf.reshape(outputs, (12, 5)), flat, atol=1e-6)


def gradients_and_statistics(strategy, batches):
    """Return the outputs' gradients and the statistics, by rows of all replicas."""
    with strategy.scope():
        mlp = MLP([6, 1], normalization="batch")
        mlp.build((None, 5))
        keras.utils.set_random_seed(0)
        for weight in mlp.trainable_variables:
            weight.assign(np.random.default_rng(7).normal(size=weight.shape))

    def step(inputs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(mlp(inputs, training=True)))
        gradients = tape.gradient(loss, mlp.trainable_variables)
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)

    run = tf.function(lambda inputs: strategy.run(step, args=(inputs,)))
    parts = iter(batches)
    inputs = strategy.experimental_distribute_values_from_function(
        lambda _: tf.constant(next(parts))
    )
    gradients = [
        strategy.experimental_local_results(gradient)[0] for gradient in run(inputs)
    ]
    return mlp, gradients


@pytest.mark.slow_variants
@pytest.mark.parametrize("first_rows", [12, 9, 11], ids=["none", "3", "1"])
def test_two_replicas_use_the_statistics_of_all_rows(first_rows):
    batch = rows(12, offset=2)
    parts = batch[:first_rows], batch[first_rows:]
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    mirrored, actual = gradients_and_statistics(strategy, parts)
    whole, expected = gradients_and_statistics(
        tf.distribute.OneDeviceStrategy("CPU:0"), [batch]
    )
    for gradient, exact in zip(actual, expected, strict=True):
        np.testing.assert_allclose(gradient, exact, rtol=1e-3, atol=1e-3)
    for weight, exact in zip(mirrored.weights, whole.weights, strict=True):
        first, second = strategy.experimental_local_results(weight.value)
        np.testing.assert_array_equal(first, second)  # on both replicas
        np.testing.assert_allclose(first, exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"momentum": 1.0}, "momentum is 1.0"), ({"epsilon": 0.0}, "epsilon is 0.0")],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BatchNormalization(**arguments)
