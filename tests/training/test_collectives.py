"""The collectives by which GPUs add up gradients, on two logical CPUs."""

import numpy as np
import pytest
import tensorflow as tf

from tests.support import train_by_collectives
from tests.support.processes import run_command_line
from tfdlrm.training.distribution import strategy


@pytest.mark.slow
def test_replicas_that_add_up_by_collectives_learn_the_same(tmp_path):
    command = f"python -m {train_by_collectives.__name__} {tmp_path / 'found.npz'}"
    process = run_command_line(command, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    values_by_name = np.load(tmp_path / "found.npz")
    for name in train_by_collectives.OPTIMIZERS:
        for devices in (strategy("mirrored"), tf.distribute.get_strategy()):
            expected = train_by_collectives.train(devices, name)
            assert set(expected) == {
                key for key in values_by_name if key.startswith(f"{name}/")
            }
            for key, value in expected.items():
                np.testing.assert_allclose(
                    values_by_name[key], value, rtol=1e-5, atol=1e-6, err_msg=key
                )
