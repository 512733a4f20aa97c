"""The commands on a machine with GPUs, real ones or such made of memory."""

import json
import signal
import time

import numpy as np
import pytest

from pipelines import synthetic
from pipelines.prepare import prepare
from tests.support.fake_gpu.machine import Machine
from tests.support.serving_process import serving
from tfdlrm.client import ClientCommand, score_file
from tfdlrm.config import PrepareConfig
from tfdlrm.predict import PredictCommand, predict


def train_command(data_dir, *settings):
    """Return a command for the run of `small_config`, with other settings."""
    return (
        f"python -m tfdlrm.train --data_dir {data_dir} --model.embedding_dim 8 "
        "--model.bottom_mlp_units [16] --model.top_mlp_units [16] --batch_size 64 "
        f"--evaluations_per_epoch 1 --run_dir run --export_dir model "
        + " ".join(settings)
    )


def measures_of(run):
    """Return the area under the curve and the loss of each split."""
    measures = json.loads((run / "metrics.json").read_text())
    return [
        values[measure]
        for values in measures.values()
        for measure in ("auc", "log_loss")
    ]


@pytest.mark.slow
def test_a_gpu_trains_and_exports_what_a_cpu_does(
    fake_gpus, data_dir, exported, small_config, tmp_path
):
    machine = Machine(fake_gpus, tmp_path)
    machine.run(train_command(data_dir))
    assert machine.copies().to_device > 81  # a batch for each step
    expected = measures_of(small_config.run_dir)
    assert measures_of(tmp_path / "run") == pytest.approx(expected, rel=1e-5)


def stop_after_a_checkpoint(machine, command):
    """Start a run, interrupt it once it has a checkpoint, and return its status."""
    checkpoints = machine.directory / "run" / "checkpoints"
    process = machine.start(command)
    while process.poll() is None and not list(checkpoints.glob("step-*")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate()
    return process.returncode


@pytest.fixture(
    scope="module",
    params=[
        ("fake", 1, "default"),
        ("fake", 2, "mirrored"),
        pytest.param(("real", 1, "default"), marks=pytest.mark.gpu),
    ],
    ids=["one GPU", "two GPUs", "a real GPU"],
)
def finished(request, data_dir, tmp_path_factory):
    """A machine on which a run was stopped and resumed."""
    gpus, num_gpus, strategy = request.param
    libraries = request.getfixturevalue("fake_gpus") if gpus == "fake" else None
    directory = tmp_path_factory.mktemp("machine")
    machine = Machine(libraries, directory, num_gpus)
    settings = ["--strategy", strategy, "--checkpoints.steps 20 --epochs 2"]
    command = train_command(data_dir, *settings)
    assert stop_after_a_checkpoint(machine, command) == 130
    assert "Going on after step " in machine.run(command)
    return machine


@pytest.fixture(scope="module")
def on_cpu(data_dir, tmp_path_factory):
    """The measures of the same run on a CPU."""
    machine = Machine(None, tmp_path_factory.mktemp("cpu"), num_gpus=0)
    machine.run(train_command(data_dir, "--epochs 2"))
    return measures_of(machine.directory / "run")


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_on_gpus_as_one_on_a_cpu(finished, on_cpu):
    measures = measures_of(finished.directory / "run")
    assert measures == pytest.approx(on_cpu, rel=1e-4)


@pytest.mark.slow
def test_a_machine_with_gpus_evaluates_a_model(finished, data_dir):
    finished.run(
        f"python -m tfdlrm.evaluate --model model --data_dir {data_dir} "
        "--output_file now.json"
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
    """Return click probabilities by this process, which has no GPU."""
    predict(PredictCommand(model, raw_file, tmp_path / "expected.csv"))
    return scores_in(tmp_path / "expected.csv")


@pytest.mark.slow
def test_a_machine_with_gpus_predicts_what_one_without_does(
    finished, raw_file, tmp_path
):
    model = finished.directory / "model"
    finished.run(
        f"python -m tfdlrm.predict --model model --raw {raw_file} "
        "--output_file scores.csv"
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


@pytest.fixture(
    params=["fake", pytest.param("real", marks=pytest.mark.gpu)],
)
def one_gpu(request, tmp_path):
    """A machine with one GPU."""
    is_fake = request.param == "fake"
    libraries = request.getfixturevalue("fake_gpus") if is_fake else None
    return Machine(libraries, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [
        ("--optimizer.name sgd", 1e-3),
        ("--optimizer.name row_wise_adagrad", 1e-3),
        ("--optimizer.name lazy_adam", 1e-3),
        ("--precision mixed_bfloat16", 2e-2),
        ("--precision mixed_float16", 2e-2),
    ],
)
def test_a_gpu_trains_as_a_cpu_does_with(one_gpu, data_dir, settings, tolerance):
    one_gpu.run(train_command(data_dir, settings))
    measures = measures_of(one_gpu.directory / "run")
    cpu = Machine(None, one_gpu.directory / "cpu", num_gpus=0)
    cpu.directory.mkdir()
    cpu.run(train_command(data_dir, settings))
    expected = measures_of(cpu.directory / "run")
    assert measures == pytest.approx(expected, rel=tolerance)


@pytest.mark.slow
def test_a_run_on_a_gpu_becomes_an_onnx_file(one_gpu, data_dir):
    pytest.importorskip("tf2onnx")
    one_gpu.run(train_command(data_dir))
    one_gpu.run("python -m tfdlrm.export --run_dir run --format onnx --export_dir onnx")
    assert list((one_gpu.directory / "onnx").rglob("*.onnx"))


@pytest.fixture(scope="module")
def large_tables(tmp_path_factory):
    """A data set of few rows with 52,052 ids, and its raw file."""
    directory = tmp_path_factory.mktemp("large_tables")
    raw = directory / "clicks.tsv"
    synthetic.write_raw(raw, num_rows=1_000, seed=1)
    settings = PrepareConfig(dialect="hash", hash_buckets=2_000)
    prepare([raw], directory / "data", settings)
    return directory / "data", raw


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_gpus", "memory", "settings"),
    [
        (1, 40 << 20, "--tables host"),
        (2, 80 << 20, "--strategy mirrored --tables sharded"),
    ],
    ids=["host", "sharded"],
)
def test_tables_that_no_gpu_has_room_for_are_trained_and_used(
    fake_gpus, large_tables, tmp_path, num_gpus, memory, settings
):
    data_dir, raw = large_tables
    machine = Machine(fake_gpus, tmp_path, num_gpus, memory)
    command = train_command(data_dir, settings, "--batch_size 16")
    machine.run(command.replace("--model.embedding_dim 8", "--model.embedding_dim 256"))
    machine.run("python -m tfdlrm.export --run_dir run --export_dir again")
    machine.run(f"python -m tfdlrm.evaluate --model again --data_dir {data_dir}")
    machine.run(
        f"python -m tfdlrm.predict --model again --raw {raw} --output_file scores.csv"
    )
    with serving(tmp_path / "again", environment=machine.environment) as server:
        answers = tmp_path / "answers.csv"
        score_file(ClientCommand(raw, answers, server=server.grpc, model_name="again"))
    expected = expected_scores(tmp_path / "model", raw, tmp_path)
    np.testing.assert_allclose(scores_in(tmp_path / "scores.csv"), expected, rtol=1e-5)
    np.testing.assert_allclose(scores_in(answers), expected, rtol=1e-5)
