"""Several processes on this machine train as one does on all their rows together."""

import numpy as np
import pytest

from benchmarks.laboratory.loopback import start_workers
from tests.support import train_as_worker
from tests.support.train_as_worker import (
    DIM,
    SIZES,
    data_set,
    fit,
    make_model,
    together,
)


def train_on(num_workers, names, directory):
    """What each worker has at the end."""
    arguments = ["-m", train_as_worker.__name__, str(directory / "worker"), *names]
    for worker in start_workers(num_workers, arguments, directory):
        _, stderr = worker.communicate(timeout=240)
        assert worker.returncode == 0, stderr
    return [np.load(directory / f"worker-{index}.npz") for index in range(num_workers)]


def train_alone(name, num_workers):
    model = make_model(name)
    history = fit(model, data_set(together(num_workers)).repeat())
    return model.get_weights(), history


def check(num_workers, names, directory):
    workers = train_on(num_workers, names, directory)
    for name in names:
        weights, history = train_alone(name, num_workers)
        for worker in workers:
            for place, expected in enumerate(weights):
                found = worker[f"{name}/{place}"]
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
            for metric, expected in history.items():
                found = worker[f"{name}/{metric}"]
                np.testing.assert_allclose(found, expected, rtol=1e-5)
    return workers


@pytest.mark.slow
def test_two_workers_train_as_one_does_and_exchange_ids_and_rows(tmp_path):
    for worker in check(2, ["RowWiseAdagrad", "Adagrad"], tmp_path):
        dense_table = 4 * DIM * sum(SIZES)
        assert 0 < worker["sent"] < 0.05 * dense_table


@pytest.mark.slow
def test_three_workers_train_as_one_does_with_every_optimizer(tmp_path):
    check(3, ["SGD", "Adagrad", "RowWiseAdagrad", "LazyAdam"], tmp_path)
