"""The product on a machine with GPUs, which are made of memory."""

import json
import signal
import time
from dataclasses import replace

import numpy as np
import pytest

from pipelines import synthetic
from pipelines.prepare import prepare
from tests.support.fake_gpu.machine import Machine
from tests.support.serving_process import serving
from tfdlrm.client import ClientCommand, score_file
from tfdlrm.config import PrepareConfig
from tfdlrm.predict import PredictCommand, predict
from tfdlrm.train import train


def train_command(data_dir, *settings):
    """The run of `small_config`, with other settings."""
    return (
        f"python -m tfdlrm.train --data_dir {data_dir} --model.embedding_dim 8 "
        "--model.bottom_mlp_units [16] --model.top_mlp_units [16] --batch_size 64 "
        f"--evaluations_per_epoch 1 --run_dir run --export_dir model "
        + " ".join(settings)
    )


def measures_of(run):
    """Area under the curve and loss of each split."""
    measures = json.loads((run / "metrics.json").read_text())
    return [
        values[measure]
        for values in measures.values()
        for measure in ("auc", "log_loss")
    ]


def test_a_gpu_trains_and_exports_what_a_cpu_does(
    fake_gpus, data_dir, exported, small_config, tmp_path
):
    machine = Machine(fake_gpus, tmp_path)
    machine.run(train_command(data_dir))
    assert machine.copies().to_device > 81  # a batch for each step
    expected = measures_of(small_config.run_dir)
    assert measures_of(tmp_path / "run") == pytest.approx(expected, rel=1e-5)


def stop_after_a_checkpoint(machine, command):
    """Start a run and interrupt it once it has a checkpoint; returns its status."""
    checkpoints = machine.directory / "run" / "checkpoints"
    process = machine.start(command)
    while process.poll() is None and not list(checkpoints.glob("step-*")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate()
    return process.returncode


@pytest.fixture(
    scope="module",
    params=[(1, "default"), (2, "mirrored")],
    ids=["one GPU", "two GPUs"],
)
def finished(request, fake_gpus, data_dir, tmp_path_factory):
    """A machine on which a run was stopped and went on."""
    num_gpus, strategy = request.param
    directory = tmp_path_factory.mktemp("machine")
    machine = Machine(fake_gpus, directory, num_gpus)
    settings = ["--strategy", strategy, "--checkpoints.steps 20 --epochs 2"]
    command = train_command(data_dir, *settings)
    assert stop_after_a_checkpoint(machine, command) == 130
    assert "Going on after step " in machine.run(command)
    return machine


@pytest.fixture(scope="module")
def on_cpu(small_config, tmp_path_factory):
    """Measures of the same run on a CPU."""
    run = tmp_path_factory.mktemp("cpu") / "run"
    model = run.parent / "model"
    train(replace(small_config, epochs=2, run_dir=run, export_dir=model))
    return measures_of(run)


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_on_gpus_as_one_on_a_cpu(finished, on_cpu):
    measures = measures_of(finished.directory / "run")
    assert measures == pytest.approx(on_cpu, rel=1e-4)


@pytest.mark.slow
def test_a_machine_with_gpus_evaluates_a_model(finished, data_dir):
    finished.run(
        f"python -m tfdlrm.evaluate --model model --data_dir {data_dir} --json now.json"
    )
    now = json.loads((finished.directory / "now.json").read_text())
    after_training = json.loads((finished.directory / "run/metrics.json").read_text())
    for split, measures in now.items():
        expected = after_training[split]
        assert measures["log_loss"] == pytest.approx(expected["log_loss"], rel=1e-5)
        assert measures["rows"] == expected["rows"]


def scores_in(path):
    return np.loadtxt(path, skiprows=1)


def expected_scores(model, raw_file, tmp_path):
    """Click probabilities by this process, which has no GPU."""
    predict(PredictCommand(model, raw_file, tmp_path / "expected.csv"))
    return scores_in(tmp_path / "expected.csv")


@pytest.mark.slow
def test_a_machine_with_gpus_predicts_what_one_without_does(
    finished, raw_file, tmp_path
):
    model = finished.directory / "model"
    finished.run(
        f"python -m tfdlrm.predict --model model --input {raw_file} --output scores.csv"
    )
    np.testing.assert_allclose(
        scores_in(finished.directory / "scores.csv"),
        expected_scores(model, raw_file, tmp_path),
        rtol=1e-5,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("quantize", "tolerance"), [("none", 1e-5), ("int8", 0.05)], ids=["none", "int8"]
)
def test_a_machine_with_gpus_exports_a_run(
    finished, raw_file, tmp_path, quantize, tolerance
):
    finished.run(
        f"python -m tfdlrm.export --run_dir run --export_dir {tmp_path / 'again'} "
        f"--quantize {quantize}"
    )
    np.testing.assert_allclose(
        expected_scores(tmp_path / "again", raw_file, tmp_path),
        expected_scores(finished.directory / "model", raw_file, tmp_path),
        rtol=tolerance,
    )


@pytest.mark.slow
def test_a_machine_with_gpus_serves_a_model(finished, raw_file, tmp_path):
    model = finished.directory / "model"
    with serving(model, environment=finished.environment) as server:
        answers = tmp_path / "answers.csv"
        score_file(
            ClientCommand(raw_file, answers, server=server.grpc, model_name="model")
        )
    expected = expected_scores(model, raw_file, tmp_path)
    np.testing.assert_allclose(scores_in(answers), expected, rtol=1e-5)


@pytest.fixture(scope="module")
def many_values(tmp_path_factory):
    """A data set of few rows and many values, and its raw file."""
    directory = tmp_path_factory.mktemp("many_values")
    raw = directory / "clicks.tsv"
    synthetic.write_raw(raw, num_rows=1_000, seed=1)
    prepare([raw], directory / "data", PrepareConfig(min_frequency=1))
    return directory / "data", raw


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_gpus", "memory", "settings"),
    [
        (1, 13 << 20, "--tables host"),
        (2, 26 << 20, "--strategy mirrored --tables sharded"),
    ],
    ids=["host", "sharded"],
)
def test_tables_that_no_gpu_has_room_for_are_trained_and_used(
    fake_gpus, many_values, tmp_path, num_gpus, memory, settings
):
    data_dir, raw = many_values
    machine = Machine(fake_gpus, tmp_path, num_gpus, memory)
    command = train_command(data_dir, settings, "--batch_size 16")
    machine.run(
        command.replace("--model.embedding_dim 8", "--model.embedding_dim 1024")
    )
    machine.run("python -m tfdlrm.export --run_dir run --export_dir again")
    machine.run(f"python -m tfdlrm.evaluate --model again --data_dir {data_dir}")
    machine.run(
        f"python -m tfdlrm.predict --model again --input {raw} --output scores.csv"
    )
    with serving(tmp_path / "again", environment=machine.environment) as server:
        answers = tmp_path / "answers.csv"
        score_file(ClientCommand(raw, answers, server=server.grpc, model_name="again"))
    expected = expected_scores(tmp_path / "model", raw, tmp_path)
    np.testing.assert_allclose(scores_in(tmp_path / "scores.csv"), expected, rtol=1e-5)
    np.testing.assert_allclose(scores_in(answers), expected, rtol=1e-5)
