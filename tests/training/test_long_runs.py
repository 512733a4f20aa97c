"""Settings of long runs (schedule, 16 bits, profile), also after a resume."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support import small_runs
from tests.support.small_runs import (
    assert_equal,
    read,
    small_model,
    train,
    train_until_killed,
)
from tfdlrm import optimizers
from tfdlrm.base.errors import InputError
from tfdlrm.config import OptimizerConfig, TrainConfig
from tfdlrm.optimizers import LossScaleOptimizer
from tfdlrm.training.compiling import compile_model
from tfdlrm.training.fit import probabilities_of

SCHEDULE = OptimizerConfig(
    "adagrad", 0.05, warm_up_steps=4, decay_start_step=6, decay_steps=10
)


@pytest.fixture
def float16():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


def test_the_settings_of_a_schedule_become_that_schedule():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    compile_model(model, SCHEDULE)
    expected = optimizers.WarmUpPolynomialDecay(0.05, 4, 6, 10)
    for step in range(18):
        model.optimizer.iterations.assign(step)
        assert float(model.optimizer.learning_rate) == float(expected(step))
    assert float(expected(0)) == pytest.approx(0.05 / 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warm_up_steps": -1}, "warm_up_steps is -1, expected >= 0"),
        ({"decay_start_step": 5}, "decay_start_step is 5, expected 0 without"),
        (
            {"warm_up_steps": 9, "decay_start_step": 5, "decay_steps": 3},
            "decay_start_step is 5, expected >= warm_up_steps, which is 9",
        ),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        OptimizerConfig(**settings)


def assert_goes_on(directory, **settings):
    weights, curves = train(directory / "whole", **settings)
    train_until_killed(directory / "killed", 13, **settings)
    resumed_weights, resumed_curves = train(directory / "killed", **settings)
    assert resumed_curves == curves
    assert_equal(resumed_weights, weights)


@pytest.mark.slow
def test_a_run_with_a_schedule_goes_on_to_the_same_bits(tmp_path):
    assert_goes_on(tmp_path, optimizer=SCHEDULE)


@pytest.mark.slow
@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_so_does_one_with_normalization(normalization, tmp_path, monkeypatch):
    model = partial(small_model, normalization=normalization)
    monkeypatch.setattr(small_runs, "small_model", model)
    assert_goes_on(tmp_path, optimizer=SCHEDULE, early_stopping=3)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.slow
def test_so_does_one_with_several_steps_in_an_execution(tmp_path):
    assert_goes_on(tmp_path, steps_per_execution=4)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "row_wise_adagrad"])
def test_so_does_one_in_float16_and_its_loss_scale(tmp_path, float16, optimizer):
    assert_goes_on(tmp_path, optimizer=optimizer)


def gradients_of(model, features, label):
    with tf.GradientTape() as tape:
        logits = model(features, training=False)
        loss = tf.reduce_mean(
            keras.losses.binary_crossentropy(label, logits, from_logits=True)
        )
    return tape.gradient(
        loss, [variable.value for variable in model.trainable_variables]
    )


def test_float16_learns_as_float32_does(float16):
    half = small_model("sgd")
    keras.config.set_dtype_policy("float32")
    single = small_model("sgd")
    single.set_weights(half.get_weights())
    assert isinstance(half.optimizer, LossScaleOptimizer)
    features, label = next(iter(read(0, 0)))
    initial_weights = [variable.numpy() for variable in single.trainable_variables]
    gradients = gradients_of(single, features, label)
    for model in (half, single):
        model.top_mlp.dropout_layer.rate = 0.0
        model.train_on_batch(features, label)
    for half_weight, initial_weight, gradient in zip(
        half.trainable_variables, initial_weights, gradients, strict=True
    ):
        step = 0.05 * tf.convert_to_tensor(gradient).numpy()
        np.testing.assert_allclose(
            initial_weight - half_weight.numpy(),
            step,
            atol=0.01 * abs(step).max() + 1e-7,
        )


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_step_that_is_not_finite_is_left_out_and_halves_the_scale(bad):
    table = keras.Variable(np.ones((5, 2), "float32"))
    optimizer = LossScaleOptimizer(optimizers.Adagrad(0.5), initial_scale=8.0)
    optimizer.build([table])
    values = tf.constant([[1.0, bad], [1.0, 1.0]])
    optimizer.apply([tf.IndexedSlices(values, [1, 3])], [table])
    np.testing.assert_array_equal(table, np.ones((5, 2)))
    assert float(optimizer.dynamic_scale) == 4.0


def test_the_gradient_of_a_table_stays_sparse_where_the_loss_is_scaled():
    table = keras.Variable(np.ones((50, 2), "float32"))
    optimizer = LossScaleOptimizer(optimizers.SGD(0.5), initial_scale=2.0)
    optimizer.build([table])

    @tf.function
    def step():
        gradient = tf.IndexedSlices(tf.ones((2, 2)), tf.constant([1, 3]), [50, 2])
        optimizer.apply([gradient], [table])

    graph = step.get_concrete_function().graph
    shapes = [out.shape for op in graph.get_operations() for out in op.outputs]
    assert tf.TensorShape([50, 2]) not in shapes


def test_the_steps_asked_for_are_profiled(tmp_path):
    train(tmp_path / "run", profile_steps=(3, 5))
    (profile,) = (tmp_path / "run" / "profile").rglob("*.xplane.pb")
    assert profile.stat().st_size > 0
    assert b"Adagrad" in profile.read_bytes()


def test_a_profile_of_steps_that_never_come_is_told(tmp_path, capsys):
    train(tmp_path / "run", profile_steps=(100, 110))
    assert "No profile: training ended after step 18" in capsys.readouterr().out
    assert not (tmp_path / "run" / "profile").exists()


@pytest.mark.parametrize("steps", [(0, 3), (5, 4)])
def test_a_profile_of_no_steps_is_refused(steps):
    with pytest.raises(InputError, match="profile_steps is"):
        TrainConfig(profile_steps=steps)


def test_scores_of_bags_are_compiled_once():
    model = small_model()
    lengths = [[1, 0, 2, 1], [2, 2, 0, 1], [0, 0, 1, 5]]

    def batches():
        for row_lengths in lengths:
            bags = tf.RaggedTensor.from_row_lengths(
                tf.ones(sum(row_lengths), tf.int32), row_lengths
            )
            ids = tf.RaggedTensor.from_uniform_row_length(bags, 2)
            features = {"dense_features": tf.ones((2, 3)), "categorical_features": ids}
            yield features, tf.ones((2, 1))

    spec = (
        {
            "dense_features": tf.TensorSpec([None, 3], tf.float32),
            "categorical_features": tf.RaggedTensorSpec(
                [None, 2, None],
                tf.int32,
                2,
                row_splits_dtype=tf.int64,
            ),
        },
        tf.TensorSpec([None, 1], tf.float32),
    )
    dataset = tf.data.Dataset.from_generator(batches, output_signature=spec)
    score = probabilities_of(model, dataset)
    for features, _ in dataset:
        expected = tf.sigmoid(model(features, training=False))
        np.testing.assert_allclose(score(features), expected, rtol=1e-6)
    assert score.experimental_get_tracing_count() == 1
