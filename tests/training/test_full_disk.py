"""A full disk, imitated by Linux' limit on the size of a process' files."""

import os
import resource
import signal
import subprocess
import sys

import pytest

from tests.support.processes import ROOT


def refuse_larger_than(num_bytes):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))


def run(command, prepare=None):
    return subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=prepare,
    )


def training(data_dir, directory, *options):
    return [
        *(sys.executable, "-m", "tfdlrm.train", "--data_dir", str(data_dir)),
        *("--run_dir", str(directory / "run"), "--export_dir", str(directory / "m")),
        *("--model.embedding_dim", "4"),
        *("--model.bottom_mlp_units", "[8]", "--model.top_mlp_units", "[8]"),
        *("--batch_size", "512", *options),
    ]


@pytest.mark.slow
def test_a_run_whose_checkpoints_are_refused_says_so_and_goes_on_when_there_is_room(
    data_dir, tmp_path
):
    command = training(data_dir, tmp_path, "--checkpoints.steps", "3")
    refused_process = run(command, lambda: refuse_larger_than(20_000))
    assert refused_process.returncode == 2, refused_process.stderr
    assert (
        "no checkpoint of step 3: [Errno 27] File too large" in refused_process.stdout
    )
    assert refused_process.stderr.startswith(
        "error: the last checkpoint cannot be written"
    )
    assert refused_process.stderr.count("\n") == 1
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []
    process = run(command)
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "run" / "report.md").is_file()


@pytest.mark.slow
def test_a_run_whose_model_is_refused_is_exported_when_there_is_room(
    data_dir, tmp_path
):
    command = training(data_dir, tmp_path)
    refused_process = run(command, lambda: refuse_larger_than(200_000))
    assert refused_process.returncode == 2, refused_process.stderr
    assert refused_process.stderr.startswith(
        "error: what was trained cannot be written"
    )
    assert "File too large" in refused_process.stderr
    assert refused_process.stderr.count("\n") == 1
    assert list((tmp_path / "m").iterdir()) == []
    process = run(command)
    assert process.returncode == 0, process.stderr
    assert "Going on after step" in process.stdout
    assert (tmp_path / "run" / "report.md").is_file()
