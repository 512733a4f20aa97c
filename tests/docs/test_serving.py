"""Run what the serving page shows, with a model trained for it."""

import json
import shlex
import shutil
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from pipelines import synthetic
from tests.docs.test_pages import blocks, commands
from tests.support.processes import run_command_line
from tests.support.serving_process import serving


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory):
    """A directory with a trained model and rows to score."""
    work_dir = tmp_path_factory.mktemp("docs")
    synthetic.write_raw(work_dir / "train.txt", num_rows=20_000, seed=0)
    lines = (work_dir / "train.txt").read_text().splitlines()[:50]
    unlabelled = "".join(line.partition("\t")[2] + "\n" for line in lines)
    (work_dir / "test.txt").write_text(unlabelled)
    trained = run_command_line(
        "python -m tfdlrm.train --raw train.txt --export_dir saved_models/dlrm",
        work_dir,
    )
    assert trained.returncode == 0, trained.stderr
    return work_dir


def test_the_answer_of_the_serving_page_has_a_list_for_each_row():
    request, answer = map(json.loads, blocks("docs/serving.md", "json"))
    assert request["signature_name"] == "raw"
    assert len(answer["unknown"]) == len(answer["predictions"])


@pytest.mark.slow
def test_the_commands_of_the_serving_page_run(work_dir):
    serve, *ask, benchmark = commands("docs/serving.md")
    assert serve == "python -m tfdlrm.serve saved_models/dlrm"
    predicted = run_command_line(
        "python -m tfdlrm.predict --model saved_models/dlrm --raw test.txt "
        "--output_file known.csv",
        work_dir,
    )
    assert predicted.returncode == 0, predicted.stderr
    right = np.loadtxt(work_dir / "known.csv", skiprows=1)
    with serving(work_dir / "saved_models" / "dlrm") as server:

        def here(text):
            return text.replace("8500", str(server.port)).replace(
                "8501", str(server.rest_port)
            )

        assert len(ask) == 2
        for command in ask:
            if "--server" not in command:
                command += " --server localhost:8500"
            process = run_command_line(here(command), work_dir)
            assert process.returncode == 0, process.stderr
            answers = np.loadtxt(work_dir / "predictions.csv", skiprows=1)
            np.testing.assert_allclose(answers, right, atol=1e-6)
        (program,) = blocks("docs/serving.md", "python")
        process = subprocess.run(
            [sys.executable, "-c", here(program)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0 and process.stdout.startswith("[0."), (
            process.stderr
        )
        if shutil.which("curl"):
            search, ask_for_rows = (
                block for block in blocks("docs/serving.md", "bash") if "curl" in block
            )
            process = run_command_line(here(search), work_dir)
            assert process.stdout.startswith('{"values":['), process.stdout
            process = run_command_line(here(ask_for_rows), work_dir)
            assert process.stdout.startswith('{"outputs":[[0.'), process.stdout
    tiny = "--seconds 0.3 --table_scale 0.0001 --batch_sizes '[1]' --rates '[50]'"
    tiny += " --logged 0"
    process = run_command_line(f"{benchmark} {tiny}", work_dir)
    assert process.returncode == 0, process.stderr
    table = [line for line in process.stdout.splitlines() if line.startswith("|")][2:]
    num_clients = 3 if shutil.which("h2load") else 2
    assert len(table) == num_clients + 1 + 3, process.stderr  # open loop, peers
    assert all(line.rstrip("| ").endswith(" 0") for line in table), process.stdout


@pytest.mark.slow
def test_the_commands_of_the_page_on_logged_requests_run(work_dir):
    page = "docs/request_log.md"
    serve, *afterwards = commands(page)
    (config,) = blocks(page, "text")
    assert "sampling_rate: 0.01" in config
    config = config.replace("sampling_rate: 0.01", "sampling_rate: 1")
    (work_dir / "model.config").write_text(config)
    arguments = shlex.split(serve.partition("tfdlrm.serve")[2])
    with serving(*arguments, cwd=work_dir) as server:
        process = run_command_line(
            "python -m tfdlrm.client --raw test.txt --output_file predictions.csv "
            f"--server localhost:{server.port}",
            work_dir,
        )
        assert process.returncode == 0, process.stderr
    rows = (work_dir / "train.txt").read_text().splitlines()[:50]
    keys = Counter(tuple(row.split("\t")[14:16]) for row in rows)
    labelled = [row for row in rows if keys[*row.split("\t")[14:16]] == 1]
    assert labelled
    with (work_dir / "labels.csv").open("w") as file:
        print("C1,C2,label", file=file)
        for label, *fields in (row.split("\t") for row in labelled):
            print(*fields[13:15], label, sep=",", file=file)
    collect, evaluate = afterwards
    for command in (collect, evaluate):
        process = run_command_line(command, work_dir)
        assert process.returncode == 0, process.stderr
    collected = (work_dir / "collected.tsv").read_text().splitlines()
    assert collected == labelled
