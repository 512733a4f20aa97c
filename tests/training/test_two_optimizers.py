"""Runs with an optimizer of their own for the dense layers, and decay of all rows."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from tests.support.small_runs import assert_equal, train, train_until_killed
from tests.support.two_days import (
    begun,
    first_day,
    settings,
    trained,
    values_of,
    warm_start,
)
from tfdlrm.base.errors import InputError
from tfdlrm.config import DenseOptimizerConfig, OptimizerConfig
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


@pytest.fixture(autouse=True)
def _restored_precision():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.slow_variants
@pytest.mark.parametrize("optimizer", [RECIPE, OTHERS])
def test_a_killed_run_ends_bit_for_bit_as_a_whole_one(optimizer, tmp_path):
    expected, expected_curves = train(tmp_path / "whole", optimizer)
    train_until_killed(tmp_path / "killed", 7, optimizer)
    weights, curves = train(tmp_path / "killed", optimizer)
    assert_equal(weights, expected)
    assert curves == expected_curves


def assert_two_days_equal_one_run(directory, **changes):
    schema = first_day(directory / "data")
    both_days = settings(directory / "both", epochs=2, **changes)
    expected = values_of(trained(directory / "data", schema, both_days))
    day_1 = settings(directory / "day1", **changes)
    trained(directory / "data", schema, day_1)
    day_2 = replace(day_1, run_dir=directory / "day2", init_from=day_1.run_dir, seed=5)
    values = values_of(trained(directory / "data", schema, day_2, first_epoch=1))
    for name, expected_values in expected.items():
        np.testing.assert_array_equal(values[name], expected_values, err_msg=name)


@pytest.mark.slow_variants
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_two_days_equal_one_run_bit_for_bit(precision, tmp_path):
    assert_two_days_equal_one_run(tmp_path, optimizer=RECIPE, precision=precision)


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
@pytest.mark.parametrize("tables", ["sharded", "host"])
def test_so_do_placed_tables(tables, tmp_path):
    assert_two_days_equal_one_run(
        tmp_path, optimizer=RECIPE, strategy="mirrored", tables=tables
    )


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
