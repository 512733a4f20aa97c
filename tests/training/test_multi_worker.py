"""Several processes on this machine train as one does on all their rows together."""

import keras
import numpy as np
import pytest

from benchmarks.laboratory.loopback import start_workers
from tests.support import train_as_worker, train_with_overflow
from tests.support.train_as_worker import (
    DIM,
    SIZES,
    data_set,
    fit,
    make_model,
    together,
)


def results_of(num_workers, module, arguments, directory):
    """Return the results of each worker; all are killed if one takes too long."""
    command = ["-m", module.__name__, str(directory / "worker"), *arguments]
    workers = start_workers(num_workers, command, directory)
    try:
        for worker in workers:
            _, stderr = worker.communicate(timeout=240)
            assert worker.returncode == 0, stderr
    finally:
        for worker in workers:
            worker.kill()  # a worker that waits for another ignores other signals
            worker.communicate()
    return [np.load(directory / f"worker-{index}.npz") for index in range(num_workers)]


def train_on(num_workers, names, directory):
    return results_of(num_workers, train_as_worker, names, directory)


def train_alone(name, num_workers):
    model = make_model(name)
    history = fit(model, data_set(together(num_workers)).repeat())
    return model.get_weights(), history


def check(num_workers, names, directory):
    workers = train_on(num_workers, names, directory)
    for name in names:
        weights, history = train_alone(name, num_workers)
        for worker in workers:
            for index, expected in enumerate(weights):
                values = worker[f"{name}/{index}"]
                np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
            for metric, expected in history.items():
                values = worker[f"{name}/{metric}"]
                np.testing.assert_allclose(values, expected, rtol=1e-5)
    return workers


@pytest.mark.slow
def test_two_workers_train_as_one_does_and_exchange_ids_and_rows(tmp_path):
    for worker in check(2, ["RowWiseAdagrad", "Adagrad"], tmp_path):
        dense_table = 4 * DIM * sum(SIZES)
        assert 0 < worker["sent"] < 0.05 * dense_table


@pytest.mark.slow
def test_three_workers_train_as_one_does_with_every_optimizer(tmp_path):
    check(3, ["SGD", "Adagrad", "RowWiseAdagrad", "LazyAdam"], tmp_path)


@pytest.mark.slow
def test_so_do_they_with_another_optimizer_for_dense_layers(tmp_path):
    check(2, ["CompositeOptimizer"], tmp_path)


@pytest.mark.slow
def test_workers_share_the_statistics_of_a_batch(tmp_path):
    check(2, ["Adagrad+batch"], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("replica", [0, 1])
def test_a_step_that_overflows_on_one_worker_is_left_out_on_both(replica, tmp_path):
    dtype_policy = keras.config.dtype_policy()
    try:
        expected, scale = train_with_overflow.train_an_epoch(
            "default", "replicated", replica
        )
    finally:
        keras.config.set_dtype_policy(dtype_policy)
    for worker in results_of(2, train_with_overflow, [str(replica)], tmp_path):
        assert worker["scale"] == scale == 2.0**14
        weights = [worker[f"arr_{index}"] for index in range(len(expected))]
        for weight, expected_weight in zip(weights, expected, strict=True):
            assert np.isfinite(weight).all()
            np.testing.assert_allclose(weight, expected_weight, rtol=2e-2, atol=2e-3)
