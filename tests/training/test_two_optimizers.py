"""Runs with an optimizer of their own for the dense layers, and decay of all rows."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from tests.support.small_runs import assert_equal, train, train_until_killed
from tests.support.two_days import (
    assert_two_days_equal_one_run,
    begun,
    first_day,
    second_day,
    settings,
    trained,
    values_of,
    warm_start,
)
from tfdlrm.base.errors import InputError
from tfdlrm.config import DenseOptimizerConfig, OptimizerConfig
from tfdlrm.optimizers._parts import table_optimizer
from tfdlrm.training.compiling import compile_model
from tfdlrm.training.run_directory import RunDirectory

RECIPE = OptimizerConfig(
    "lazy_adam",
    0.05,
    warm_up_steps=3,
    epsilon=1e-5,
    dense=DenseOptimizerConfig("adamw", 0.02, clip_norm=0.5),
    table_l2=0.01,
    decay_of="all",
)
OTHERS = OptimizerConfig(
    "row_wise_adagrad",
    0.05,
    initial_accumulator=0.1,
    dense=DenseOptimizerConfig("nadam", 0.02),
    table_weight_decay=0.1,
    decay_of="all",
)

LATE = OptimizerConfig(
    "adagrad",
    0.05,
    warm_up_steps=3,
    dense=DenseOptimizerConfig("adam", 0.02),
    table_weight_decay=1.0,
)


@pytest.fixture(autouse=True)
def _restored_precision():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [RECIPE, LATE, OTHERS])
def test_a_killed_run_ends_bit_for_bit_as_a_whole_one(optimizer, tmp_path):
    expected, expected_curves = train(tmp_path / "whole", optimizer)
    train_until_killed(tmp_path / "killed", 7, optimizer)
    weights, curves = train(tmp_path / "killed", optimizer)
    assert_equal(weights, expected)
    assert curves == expected_curves


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "precision"),
    [(RECIPE, "float32"), (RECIPE, "mixed_float16"), (LATE, "mixed_float16")],
)
def test_two_days_equal_one_run_bit_for_bit(optimizer, precision, tmp_path):
    assert_two_days_equal_one_run(tmp_path, optimizer=optimizer, precision=precision)


@pytest.mark.slow
def test_best_weights_have_the_state_of_both_optimizers(tmp_path):
    schema = first_day(tmp_path / "data")
    day_1 = settings(tmp_path / "day1", optimizer=RECIPE, early_stopping=3)
    expected = values_of(trained(tmp_path / "data", schema, day_1))
    day_2 = replace(day_1, run_dir=tmp_path / "day2", init_from=day_1.run_dir)
    values = values_of(begun(tmp_path / "data", schema, day_2)[0])
    assert values.keys() == expected.keys()
    num_equal = sum(np.array_equal(values[name], expected[name]) for name in values)
    assert len(values) - num_equal <= 1  # the learning rate or a seed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "tables"), [(RECIPE, "sharded"), (LATE, "host"), (LATE, "sharded")]
)
def test_so_do_placed_tables(optimizer, tables, tmp_path):
    assert_two_days_equal_one_run(
        tmp_path, optimizer=optimizer, strategy="mirrored", tables=tables
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"strategy": "mirrored"},
        {"strategy": "mirrored", "tables": "sharded"},
        {"steps_per_execution": 2},
        {"early_stopping": 1},
    ],
)
def test_late_decay_ends_as_that_of_every_step(changes, tmp_path):
    schema = first_day(tmp_path / "data")
    ends = []
    for decay_of in ("touched", "all"):
        optimizer = replace(LATE, decay_of=decay_of)
        run = settings(tmp_path / decay_of, optimizer=optimizer, **changes)
        model = trained(tmp_path / "data", schema, run)
        ends.append([weight.numpy() for weight in model.weights if weight.trainable])
    for weight, expected in zip(*ends, strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_new_rows_have_missed_nothing(tmp_path):
    schema = first_day(tmp_path / "day1")
    day_1 = settings(tmp_path / "run1", optimizer=LATE)
    trained(tmp_path / "day1", schema, day_1)
    later = second_day(tmp_path / "day2", schema)
    day_2 = replace(day_1, run_dir=tmp_path / "run2", init_from=day_1.run_dir)
    model, _ = begun(tmp_path / "day2", later, day_2)
    late = table_optimizer(model.optimizer).late_decay
    (sums,) = (variable.numpy() for variable in late.sums)
    total = float(late.total.numpy())
    assert total < 0
    assert (sums <= 0).all()
    num_new = len(sums) - sum(schema.vocabulary_sizes)
    assert num_new > 0
    assert (sums == total).sum() >= num_new
    assert (sums > total).any()


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    ("dense", "words"),
    [
        (
            DenseOptimizerConfig("adam"),
            "it is adagrad there, adagrad and adam for dens",
        ),
        (DenseOptimizerConfig("sgd", momentum=0.5), "and sgd with momentum for dense"),
    ],
)
def test_state_of_other_dense_optimizers_is_refused(dense, words, tmp_path):
    schema = first_day(tmp_path / "data")
    day_1 = settings(tmp_path / "day1")
    trained(tmp_path / "data", schema, day_1)
    optimizer = replace(day_1.optimizer, dense=dense)
    day_2 = replace(
        day_1, run_dir=tmp_path / "day2", init_from=day_1.run_dir, optimizer=optimizer
    )
    with pytest.raises(InputError, match=words), RunDirectory.opened(day_2):
        warm_start(tmp_path / "data", schema, day_2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0.1}, "learning_rate is 0.1, expected no setting without"),
        ({"clip_norm": 1.0}, "optimizer.dense.clip_norm is 1.0, expected no setting"),
        ({"name": "adam", "learning_rate": 0.0}, "learning_rate is 0.0, expected > 0"),
        ({"name": "adam", "momentum": 0.9}, "0 unless optimizer.dense.name is sgd or"),
        ({"name": "sgd", "momentum": 1.0}, "expected >= 0 and < 1"),
        ({"name": "lion", "weight_decay": -1.0}, "expected null or >= 0"),
        ({"name": "lion", "clip_norm": 0.0}, "expected null or > 0"),
        ({"name": "adm"}, "name is 'adm', expected"),
    ],
)
def test_wrong_settings_of_the_dense_optimizer_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        DenseOptimizerConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "sgd", "epsilon": 0.1}, "epsilon is 0.1, expected null or > 0, and"),
        ({"epsilon": 0.0}, "epsilon is 0.0, expected null or > 0"),
        ({"name": "lazy_adam", "initial_accumulator": 0.1}, "0 unless optimizer.name"),
        ({"initial_accumulator": -0.1}, "initial_accumulator is -0.1, expected >= 0"),
        ({"table_l2": -1.0}, "table_l2 is -1.0, expected >= 0"),
        (
            {"table_l2": 0.1},
            "decay_of is touched, expected all with table_l2 and adagr",
        ),
        (
            {"table_weight_decay": 100.0},
            "table_weight_decay is 100.0, expected below 1",
        ),
    ],
)
def test_wrong_settings_of_tables_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        OptimizerConfig(**settings)


def test_epsilon_and_initial_accumulator_reach_the_optimizer():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    for name in ("adagrad", "row_wise_adagrad"):
        config = OptimizerConfig(name, epsilon=0.5, initial_accumulator=0.25)
        compile_model(model, config)
        optimizer = model.optimizer
        assert (optimizer.epsilon, optimizer.initial_accumulator_value) == (0.5, 0.25)
    compile_model(model, OptimizerConfig("lazy_adam", epsilon=0.5))
    assert model.optimizer.epsilon == 0.5
