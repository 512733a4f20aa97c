"""Schedules that begin with a run, next to those of Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdlrm import optimizers

SCHEDULES = [
    optimizers.WarmUpCosineDecay(0.5, 10, final_share=0.1, warm_up_steps=4),
    optimizers.WarmUpPiecewiseDecay(0.5, [3, 7], [0.3, 2.0], warm_up_steps=2),
    optimizers.WarmUpPlateauDecay(0.5, 0.1, 1e-4, num_reductions=2, warm_up_steps=3),
]


def rates_of(schedule, num_steps=20):
    return [float(schedule(step)) for step in range(num_steps)]


def warm(rates, warm_up_steps):
    """Multiply rates by a linear warm-up, in float64."""
    return [
        rate * min((step + 1) / max(warm_up_steps, 1), 1.0)
        for step, rate in enumerate(rates)
    ]


@pytest.mark.parametrize(
    ("warm_up", "final_share"), [(0, 0.0), (0, 0.25), (1, 0.0), (5, 0.1)]
)
def test_a_cosine_is_that_of_keras_after_the_warm_up(warm_up, final_share):
    schedule = optimizers.WarmUpCosineDecay(0.5, 10, final_share, warm_up)
    keras_schedule = keras.optimizers.schedules.CosineDecay(0.5, 10, alpha=final_share)
    rates = [float(keras_schedule(max(step - warm_up, 0))) for step in range(20)]
    np.testing.assert_allclose(rates_of(schedule), warm(rates, warm_up), rtol=1e-6)


def test_a_cosine_is_that_of_float64():
    schedule = optimizers.WarmUpCosineDecay(0.2, 1000)
    steps = np.array([0, 1, 250, 500, 999, 1000, 5000])
    expected = 0.1 * (1 + np.cos(np.pi * np.minimum(steps / 1000, 1)))
    rates = [float(schedule(int(step))) for step in steps]
    np.testing.assert_allclose(rates, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("warm_up", [0, 5])
def test_pieces_are_those_of_keras(warm_up):
    schedule = optimizers.WarmUpPiecewiseDecay(0.5, [3, 9], [0.3, 0.01], warm_up)
    keras_schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [2, 8],
        [0.5, 0.15, 0.005],  # the last steps that the values before hold at
    )
    rates = [float(keras_schedule(step)) for step in range(20)]
    np.testing.assert_allclose(rates_of(schedule), warm(rates, warm_up), rtol=1e-6)


def test_a_reduced_rate_does_not_fall_below_its_least():
    schedule = optimizers.WarmUpPlateauDecay(0.5, 0.1, min_rate=0.01)
    rates = []
    for number in (0, 1, 2, 3):
        schedule.num_reductions = number
        rates.append(float(schedule(7)))
    np.testing.assert_allclose(rates, [0.5, 0.05, 0.01, 0.01], rtol=1e-6)


def test_a_rate_below_the_least_one_stays():
    assert float(optimizers.WarmUpPlateauDecay(0.01, min_rate=0.5)(0)) == pytest.approx(
        0.01
    )


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_begins_with_the_run(schedule):
    later = type(schedule).from_config({**schedule.get_config(), "first_step": 100})
    rates = [float(later(step)) for step in range(100, 120)]
    np.testing.assert_array_equal(rates, rates_of(schedule))


def test_steps_beyond_the_whole_numbers_of_float32_are_told_apart():
    schedule = optimizers.WarmUpPiecewiseDecay(1.0, [1], [0.5], first_step=2**24)
    step = keras.Variable(2**24 + 1, dtype="int64")
    assert float(schedule(step)) == 0.5


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_saved_optimizer_keeps_its_schedule(schedule):
    optimizer = optimizers.Adagrad(schedule)
    config = keras.saving.serialize_keras_object(optimizer)
    loaded = keras.saving.deserialize_keras_object(config)
    assert rates_of(loaded._learning_rate) == rates_of(schedule)


def test_a_compiled_step_sees_a_reduced_rate():
    schedule = optimizers.WarmUpPlateauDecay(1.0, 0.5)
    optimizer, variable = optimizers.SGD(schedule), tf.Variable([[0.0]])

    @tf.function
    def step():
        optimizer.apply([tf.ones((1, 1))], [variable])

    step()
    schedule.num_reductions = 2
    step()
    assert variable.numpy() == pytest.approx(-1.25)


def test_replicas_have_one_rate():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        schedule = optimizers.WarmUpPlateauDecay(1.0, 0.5, warm_up_steps=2)
        optimizer, variable = optimizers.SGD(schedule), tf.Variable([[0.0]])
        optimizer.build([variable])

    @tf.function
    def step():
        strategy.run(lambda: optimizer.apply([tf.ones((1, 1))], [variable]))

    step()  # half the rate, and two replicas
    schedule.num_reductions = 1
    step()
    copies = strategy.experimental_local_results(variable)
    assert [float(copy[0][0]) for copy in copies] == pytest.approx([-2.0, -2.0])


def test_steps_are_batches_where_gradients_are_accumulated():
    schedule = optimizers.WarmUpPiecewiseDecay(1.0, [2], [0.5])
    optimizer = optimizers.SGD(schedule, gradient_accumulation_steps=2)
    variable = tf.Variable([[0.0]])
    for _ in range(4):
        optimizer.apply([tf.ones((1, 1))], [variable])
    assert variable.numpy() == pytest.approx(-1.5)  # as Keras counts
