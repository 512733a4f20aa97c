"""Two days by warm start are one run over both days, where no id is new."""

import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest

from tests.support.small_runs import dying_at_step
from tests.support.two_days import (
    MODEL,
    assert_two_days_equal_one_run,
    first_day,
    second_day,
    settings,
    trained,
    values_of,
)
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.config import CheckpointConfig, OptimizerConfig
from tfdlrm.training.run_directory import RunDirectory

SCHEDULE = OptimizerConfig(
    "lazy_adam", 0.05, warm_up_steps=3, decay_start_step=6, decay_steps=10
)


@pytest.fixture(autouse=True)
def _restored_precision():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    "optimizer", ["sgd", "adagrad", "row_wise_adagrad", "lazy_adam", SCHEDULE]
)
def test_two_days_equal_one_run_bit_for_bit(optimizer, tmp_path):
    assert_two_days_equal_one_run(tmp_path, optimizer=optimizer)


@pytest.mark.slow
def test_so_do_moving_statistics(tmp_path):
    assert_two_days_equal_one_run(tmp_path, model=replace(MODEL, normalization="batch"))


@pytest.mark.slow_variants
@pytest.mark.parametrize("optimizer", ["sgd", "row_wise_adagrad"])
def test_so_does_the_scale_of_the_loss(optimizer, tmp_path):
    assert_two_days_equal_one_run(
        tmp_path, optimizer=optimizer, precision="mixed_float16"
    )


@pytest.mark.slow
def test_so_do_tables_on_two_devices(tmp_path):
    assert_two_days_equal_one_run(tmp_path, strategy="mirrored", tables="sharded")


@pytest.mark.slow_variants
@pytest.mark.parametrize("at_step", [1, 4])
def test_a_killed_run_ends_as_if_it_had_not_been(at_step, tmp_path, capsys):
    schema = first_day(tmp_path / "day1")
    day_1 = settings(tmp_path / "run1")
    trained(tmp_path / "day1", schema, day_1)
    later = second_day(tmp_path / "day2", schema)
    day_2 = replace(
        day_1,
        init_from=day_1.run_dir,
        seed=5,
        checkpoints=CheckpointConfig(minutes=None, steps=2),
    )
    whole = replace(day_2, run_dir=tmp_path / "whole")
    expected = values_of(trained(tmp_path / "day2", later, whole))
    day_2 = replace(day_2, run_dir=tmp_path / "killed")
    with dying_at_step(at_step):
        trained(tmp_path / "day2", later, day_2)
    capsys.readouterr()
    if at_step > 2:
        shutil.rmtree(day_1.run_dir)  # nobody needs it any more
    values = values_of(trained(tmp_path / "day2", later, day_2))
    for name, expected_values in expected.items():
        np.testing.assert_array_equal(values[name], expected_values, err_msg=name)
    output = capsys.readouterr().out
    assert ("Beginning with the weights of" in output) == (at_step < 2)
    assert ("Going on after step 2 of" in output) == (at_step > 2)
    states = [
        CheckpointDirectory(run / "checkpoints").newest_state()["warm_start"]
        for run in (tmp_path / "whole", tmp_path / "killed")
    ]
    assert states[0] == states[1]
    assert states[0]["tables"][0]["carried"] == 18


def test_another_beginning_of_the_same_run_is_refused(tmp_path):
    schema = first_day(tmp_path / "day1")
    day_1 = settings(tmp_path / "run1")
    trained(tmp_path / "day1", schema, day_1)
    day_2 = replace(day_1, run_dir=tmp_path / "run2", init_from=day_1.run_dir)
    with dying_at_step(1):
        trained(tmp_path / "day1", schema, day_2)
    for other in (None, tmp_path / "other"):
        with pytest.raises(InputError, match=r"with other settings: init_from: .*run1"):
            RunDirectory.opened(replace(day_2, init_from=other)).__enter__()
