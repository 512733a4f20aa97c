"""A rolling run with the real commands: killed at random moments, and on data sets."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from pipelines.synthetic import Twin, write_days
from tests.support.processes import ROOT, run_command_line
from tfdlrm.exporting.scorer import load_scorer

NUM_DAYS = 3
OPTIONS = (
    "--prepare.min_frequency 3 --model.embedding_dim 4 --model.bottom_mlp_units [8] "
    "--model.top_mlp_units [8] --batch_size 32 --checkpoints.steps 7 "
    "--optimizer.name lazy_adam --compare cold,frozen"
)


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    directory = tmp_path_factory.mktemp("days")
    twin = Twin(900 * NUM_DAYS, 0, 1e-4, NUM_DAYS, drift=0.3, turnover=0.2)
    write_days(directory / "day_{day}.txt", twin)
    return [directory / f"day_{day}.txt" for day in range(1, NUM_DAYS + 1)]


def arguments(days, name):
    logs = " ".join(map(str, days))
    return (
        f"--raw {logs} --output runs/{name} --export_dir models/{name} {OPTIONS}"
    ).split()


@pytest.fixture(scope="module")
def whole(days, tmp_path_factory):
    """The directory of a run that nothing stopped, and its seconds."""
    directory = tmp_path_factory.mktemp("whole")
    start = time.monotonic()
    line = f"python -m tfdlrm.rolling {' '.join(arguments(days, 'whole'))}"
    process = run_command_line(line, cwd=directory)
    assert process.returncode == 0, process.stderr
    assert process.stdout.endswith("Report: runs/whole/report.md\n")
    return directory, time.monotonic() - start


def weights(directory, name):
    """Return the weights of each version."""
    versions = sorted((directory / "models" / name).iterdir())
    assert [version.name for version in versions] == ["1", "2", "3"]
    return [
        {weight.name: weight.numpy() for weight in load_scorer(path).module.weights}
        for path in versions
    ]


def reports(directory, name):
    output = directory / "runs" / name
    return [
        (output / file).read_bytes()
        for file in ("report.md", "report.json", "days.png")
    ]


def stop(command, directory, seconds, how):
    """Run the command for some time; return its status, `None` if it ended before."""
    with subprocess.Popen(
        command, cwd=directory, env=environment(), stdout=subprocess.DEVNULL
    ) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(how)
    return process.returncode


def environment():
    return {
        "PYTHONPATH": str(ROOT),
        "PATH": "/usr/bin:/bin",
        "CUDA_VISIBLE_DEVICES": "",
    }


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(days, whole, tmp_path):
    expected_directory, seconds = whole
    command = [sys.executable, "-m", "tfdlrm.rolling", *arguments(days, "killed")]
    moments = np.random.default_rng(0).uniform(2, seconds / 3, 5)
    signals = [signal.SIGKILL, signal.SIGTERM, *[signal.SIGKILL] * 3]
    for moment, how in zip(moments, signals, strict=True):
        status = stop(command, tmp_path, moment, how)
        assert status in (0, 143 if how == signal.SIGTERM else -how)
    process = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert reports(tmp_path, "killed") == reports(expected_directory, "whole")
    for version, expected in zip(
        weights(tmp_path, "killed"), weights(expected_directory, "whole"), strict=True
    ):
        assert version.keys() == expected.keys()
        for name, values in version.items():
            np.testing.assert_array_equal(values, expected[name])


@pytest.mark.slow
def test_the_data_sets_of_the_days_are_scored_as_their_logs(whole, tmp_path):
    directory, _ = whole
    folders = directory / "runs" / "whole" / "days"
    data_sets = " ".join(str(path / "data") for path in sorted(folders.iterdir()))
    options = OPTIONS.replace("--prepare.min_frequency 3", "")
    line = (
        f"python -m tfdlrm.rolling --data_dirs {data_sets} --output runs/sets "
        f"--export_dir models/sets {options}"
    )
    process = run_command_line(line, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    by_logs, by_data_sets = (
        json.loads((root / "runs" / name / "report.json").read_bytes())["days"]
        for root, name in ((directory, "whole"), (tmp_path, "sets"))
    )
    for day, expected in zip(by_data_sets[1:], by_logs[1:], strict=True):
        for model in ("warm", "frozen"):
            assert day[model].keys() == expected[model].keys()
            for name in ("rows", "auc", "log_loss", "unknown_share"):
                assert day[model][name] == pytest.approx(expected[model][name], 1e-5)
            assert day[model]["unknown"] == pytest.approx(expected[model]["unknown"])
    for version, expected in zip(
        weights(tmp_path, "sets"), weights(directory, "whole"), strict=True
    ):
        for name, values in version.items():
            np.testing.assert_array_equal(values, expected[name])


@pytest.mark.slow
def test_data_sets_that_do_not_extend_each_other_are_refused(days, tmp_path):
    for number, day in enumerate(days[:2]):
        line = (
            f"python -m pipelines.prepare --raw {day} --output data{number} "
            "--min_frequency 3 --validation_days 0 --test_days 0"
        )
        assert run_command_line(line, cwd=tmp_path).returncode == 0
    process = run_command_line(
        "python -m tfdlrm.rolling --data_dirs data0 data1", cwd=tmp_path
    )
    assert process.returncode == 2
    assert process.stderr.startswith("error: data1 does not extend data0, the day")
    assert process.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()
