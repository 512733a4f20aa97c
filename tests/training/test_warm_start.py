"""Two days by warm start are one run over both days, where no id is new."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from tests.support.two_days import first_day, settings, trained, values_of
from tfdlrm.config import OptimizerConfig

SCHEDULE = OptimizerConfig(
    "lazy_adam", 0.05, warm_up_steps=3, decay_start_step=6, decay_steps=10
)


@pytest.fixture(autouse=True)
def _restored_precision():
    yield
    keras.config.set_dtype_policy("float32")


def assert_two_days_equal_one_run(directory, **changes):
    schema = first_day(directory / "data")
    both_days = settings(directory / "both", epochs=2, **changes)
    expected = values_of(trained(directory / "data", schema, both_days))
    day_1 = settings(directory / "day1", **changes)
    trained(directory / "data", schema, day_1)
    # Another seed: nothing of the new model's own first weights may be left.
    day_2 = replace(day_1, run_dir=directory / "day2", init_from=day_1.run_dir, seed=5)
    values = values_of(trained(directory / "data", schema, day_2, first_epoch=1))
    assert values.keys() == expected.keys()
    for name, expected_values in expected.items():
        np.testing.assert_array_equal(values[name], expected_values, err_msg=name)


@pytest.mark.parametrize(
    "optimizer", ["sgd", "adagrad", "row_wise_adagrad", "lazy_adam", SCHEDULE]
)
def test_two_days_equal_one_run_bit_for_bit(optimizer, tmp_path):
    assert_two_days_equal_one_run(tmp_path, optimizer=optimizer)


@pytest.mark.parametrize("optimizer", ["sgd", "row_wise_adagrad"])
def test_so_does_the_scale_of_the_loss(optimizer, tmp_path):
    assert_two_days_equal_one_run(
        tmp_path, optimizer=optimizer, precision="mixed_float16"
    )


def test_so_do_tables_on_two_devices(tmp_path):
    assert_two_days_equal_one_run(tmp_path, strategy="mirrored", tables="sharded")
