"""Training on several workers by the command line, and the loss of one."""

import json
import signal
import time

import numpy as np
import pytest

from benchmarks.laboratory.loopback import start_workers
from tfdlrm.data.reading import read_split
from tfdlrm.data.reading_order import WorkerShare
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.training.curves import CurvePoint

SETTINGS = [
    *("--strategy", "multi_worker", "--batch_size", "64", "--epochs", "3"),
    *("--model.embedding_dim", "4", "--model.bottom_mlp_units", "[8]"),
    *("--model.top_mlp_units", "[8]", "--evaluations_per_epoch", "4"),
    *("--checkpoints.steps", "20", "--optimizer.name", "row_wise_adagrad"),
]


def start(directory, data_dir, *settings, num_workers=2):
    paths = {
        "--data_dir": data_dir,
        "--run_dir": directory / "run",
        "--export_dir": directory / "model",
    }
    arguments = [str(part) for pair in paths.items() for part in pair]
    return start_workers(
        num_workers, ["-m", "tfdlrm.train", *SETTINGS, *arguments, *settings], directory
    )


def finish(workers):
    """Wait, and return the status, output and errors of each."""
    try:
        outputs = [worker.communicate(timeout=400) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    return [(w.returncode, *texts) for w, texts in zip(workers, outputs, strict=True)]


def checkpoints(directory):
    return set((directory / "run" / "checkpoints").glob("step-*"))


def wait_for_checkpoint(directory, workers, old=frozenset()):
    while not checkpoints(directory) - old:
        assert all(worker.poll() is None for worker in workers)
        time.sleep(0.05)


def curves(directory):
    lines = (directory / "run" / "metrics.jsonl").read_text().splitlines()
    points = [json.loads(line) for line in lines]
    measures = [[p["loss"], p["accuracy"], p["auc"]] for p in points]
    return [(p["step"], p["split"]) for p in points], measures


@pytest.mark.slow
@pytest.mark.calm  # a worker that is held up for ten seconds counts as lost
def test_a_lost_worker_stops_the_others_and_a_restart_goes_on(data_dir, tmp_path):
    complete, killed = tmp_path / "whole", tmp_path / "killed"
    for directory in (complete, killed):
        directory.mkdir()
    for status, _, errors in finish(start(complete, data_dir)):
        assert status == 0, errors
    assert (complete / "model" / "1" / "saved_model.pb").is_file()

    for victim in (1, 0):
        old = checkpoints(killed)
        workers = start(killed, data_dir)
        wait_for_checkpoint(killed, workers, old)
        workers[victim].send_signal(signal.SIGKILL)
        status, _, errors = finish(workers)[1 - victim]
        last_line = errors.strip().splitlines()[-1]
        assert status == 1
        assert last_line.startswith(f"error: worker {victim} is gone: ")
        assert last_line.endswith("they go on from the last checkpoint")
        assert "Traceback" not in errors
    (status, output, errors), (other_status, *_) = finish(start(killed, data_dir))
    assert (status, other_status) == (0, 0), errors
    assert "Going on after step " in output
    (steps, measures), (expected_steps, expected) = curves(killed), curves(complete)
    assert steps == expected_steps
    np.testing.assert_allclose(measures, expected, rtol=1e-5, atol=1e-6)
    assert sorted(path.name for path in killed.iterdir()) == ["model", "run"]


@pytest.mark.slow
def test_all_workers_asked_to_stop_lose_no_step(data_dir, tmp_path):
    workers = start(tmp_path, data_dir)
    wait_for_checkpoint(tmp_path, workers)
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    (status, output, errors), (other_status, _, _) = finish(workers)
    assert status == 128 + signal.SIGTERM, errors
    assert "which was saved" in output
    assert other_status != 0


@pytest.mark.slow
def test_each_worker_saves_its_rows_of_a_loss_that_is_not_finite(data_dir, tmp_path):
    settings = ["--optimizer.name", "sgd", "--optimizer.learning_rate", "1e38"]
    ended = finish(start(tmp_path, data_dir, *settings, "--profile_steps", "1,1"))
    files = sorted((tmp_path / "run").rglob("batch-at-step-*.npz"))
    assert [path.parent.name for path in files] == ["run", "worker-1"]
    schema = FeatureSchema.load(data_dir)
    for index, (file, (status, _, errors)) in enumerate(zip(files, ended, strict=True)):
        assert status == 2
        assert str(file) in errors.splitlines()[-1]
        assert list((file.parent / "profile").rglob("*.xplane.pb"))
        step, share = int(file.stem.rpartition("-")[2]), WorkerShare(index, 2, 1)
        batches = read_split(data_dir, schema, "train", 64, (0, 0), step - 1, share)
        ((features, labels), *_) = batches.take(1)
        with np.load(file) as rows:
            for name, expected in {"label": labels, **features}.items():
                np.testing.assert_array_equal(rows[name], expected)


@pytest.mark.slow
def test_workers_go_on_together_when_the_rate_falls_on_a_plateau(data_dir, tmp_path):
    schedule = {"name": "plateau", "min_delta": 10.0, "factor": 0.5}  # at every point
    settings = [f"--optimizer.schedule.{name}={schedule[name]}" for name in schedule]
    for status, _, errors in finish(start(tmp_path, data_dir, *settings)):
        assert status == 0, errors
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    points = [CurvePoint.from_json(json.loads(line)) for line in lines]
    rates = [point.learning_rate for point in points if point.split == "train"]
    assert rates == pytest.approx([0.01 * 0.5**number for number in range(len(rates))])
    assert len(rates) == 12
