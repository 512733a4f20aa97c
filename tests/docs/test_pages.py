"""Run what the documents show in order, as a reader would."""

import re
import shutil

import pytest

from pipelines import synthetic
from tests.support.processes import ROOT, run_command_line


def blocks(document, language):
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(document):
    """Return the lines that begin with `python -m`, which an environment can run."""
    lines = "".join(blocks(document, "bash")).splitlines()
    return [line for line in lines if line.startswith("python -m")]


@pytest.mark.slow
def test_the_commands_of_the_readme_run(tmp_path):
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    synthetic.write_raw(tmp_path / "train.txt", num_rows=20_000, seed=0)
    lines = (tmp_path / "train.txt").read_text().splitlines()[:50]
    unlabelled = "".join(line.partition("\t")[2] + "\n" for line in lines)
    (tmp_path / "test.txt").write_text(unlabelled)
    page_commands = commands("README.md")
    assert len(page_commands) == 6
    for command in page_commands:
        result = run_command_line(command, cwd=tmp_path)
        assert result.returncode == 0, f"{command}\n{result.stderr}"
    predictions = (tmp_path / "predictions.csv").read_text().splitlines()
    assert len(predictions) == 1 + 50


TINY = {
    "benchmarks.train_step": "--systems '[tfdlrm]' --batch_sizes '[64]' "
    "--table_scale 0.0001 --smaller_tables null --seconds 0.1 --min_steps 1 "
    "--optimizers '[sgd]' --steps_per_execution '[1]'",
    "benchmarks.embedding_update": "--table_rows '[100]' --batch_size 8 "
    "--seconds 0.01 --min_steps 1",
    "benchmarks.gpu": "--batch_sizes 64 --precisions float32 --tables device "
    "--table_scale 0.0001 --seconds 0.1 --min_steps 1 --steps_per_execution 1",
}


@pytest.mark.slow
@pytest.mark.parametrize("command", commands("docs/performance.md"))
def test_the_commands_of_the_performance_page_run(command, tmp_path):
    smaller = f"{command} {TINY[command.split()[2]]}"
    result = run_command_line(smaller, cwd=tmp_path)
    assert (result.returncode, "| tfdlrm" in result.stdout) == (0, True), result.stderr


@pytest.mark.slow
def test_the_commands_of_the_pages_on_models_and_quality_run(tmp_path):
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "data").mkdir()
    raw = tmp_path / "data" / "synthetic.tsv"  # fewer rows than the command makes
    synthetic.write_raw(raw, num_rows=20_000, seed=0)
    for command in commands("docs/models.md") + commands("docs/quality.md"):
        command = command.replace("2000000", "20000")
        if "compare" in command:
            command += " --learning_rates 0.03 --evaluations_per_epoch 3"
        result = run_command_line(command, cwd=tmp_path)
        assert result.returncode == 0, f"{command}\n{result.stderr}"
    for file_name in (
        "importance/importance.png",
        "compare/report.html",
        "twin/report.html",
    ):
        assert (tmp_path / "runs" / file_name).is_file()


@pytest.mark.slow
def test_the_commands_of_the_data_generators_page_run(tmp_path):
    page_commands = "\n".join(blocks("docs/data_generators.md", "bash"))
    result = run_command_line(f"set -e\n{page_commands}", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "reachable: AUC 0." in result.stdout
    replayed = (tmp_path / "replay.log").read_text().split(", ")
    assert len(replayed) == 100_000


def test_the_command_of_the_first_page_runs(tmp_path):
    (command,) = commands("docs/index.md")
    result = run_command_line(command, cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_the_commands_of_every_page_have_a_test():
    sources = "".join(path.read_text("utf-8") for path in ROOT.glob("tests/docs/*.py"))
    for path in ROOT.glob("docs/*.md"):
        page = f"docs/{path.name}"
        assert not commands(page) or f'"{page}"' in sources, page


def test_the_layers_of_the_readme_work():
    _, example = blocks("README.md", "python")
    exec(compile(example, "README.md", "exec"), {})


def test_the_two_commands_of_the_readme_name_files_that_are_there():
    start, tests = (block for block in blocks("README.md", "bash") if "venv" in block)
    for block in (start, tests):
        for name in re.findall(r"-r (\S+)", block):
            assert (ROOT / name).is_file()
    ci = (ROOT / ".ci" / "run").read_text()
    assert ".venv/bin/python -m pytest -n 2\n" in tests
    assert ".venv/bin/python -m pytest -n 2\n" in ci
