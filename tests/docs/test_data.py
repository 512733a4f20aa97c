"""Run the commands of the pages on preparing data, as a reader would."""

import re
import shlex
import shutil

import pytest

from benchmarks.workload.raw_file import write_rows
from pipelines.logs.columns_file import load_columns
from pipelines.prepare import prepare
from tests.docs.test_pages import blocks, commands
from tests.support.processes import ROOT, run_command_line
from tfdlrm.config import PrepareConfig

PAGE = "docs/own_data.md"


def write_descriptions(directory):
    paths = []
    for number, text in enumerate(blocks(PAGE, "yaml")):
        paths.append(directory / f"columns{number or ''}.yaml")
        paths[-1].write_text(text, encoding="utf-8")
    return paths


def test_the_descriptions_shown_are_read(tmp_path):
    csv, tsv, parquet, numbers = map(load_columns, write_descriptions(tmp_path))
    assert csv.multi_hot == ("tags",)
    assert csv.untransformed == ("age",)
    assert (tsv.format, tsv.separators, tsv.dense_features) == ("tsv", (",",), ())
    assert (parquet.format, parquet.separators) == ("parquet", (None,))
    assert numbers.number_columns == ("price", "age")
    assert len(numbers.recipes) == 6


def test_the_log_shown_without_a_header_is_prepared(tmp_path):
    _, columns, *_ = write_descriptions(tmp_path)
    (text,) = blocks(PAGE, "text")
    (tmp_path / "tags.tsv").write_text(text * 5)
    config = PrepareConfig(
        min_frequency=2, columns=columns, validation_days=0, test_days=1
    )
    schema = prepare([tmp_path / "tags.tsv"], tmp_path / "data", config)
    assert schema.split["rows"] == {"train": 10, "validation": 0, "test": 5}
    assert schema.vocabulary_sizes == [4, 4]  # users 7 and 8, tags a and b


@pytest.mark.slow
def test_the_commands_of_the_page_on_own_data_run(tmp_path):
    *_, numbers = write_descriptions(tmp_path)
    numbers.rename(tmp_path / "numbers.yaml")
    header, *rows = blocks(PAGE, "csv")[0].splitlines(keepends=True)
    # With the rows shown alone, all of a day would have the same label.
    labels = {",yes,": ",no,", ",no,": ",yes,"}
    others = [
        re.sub(",(yes|no),", lambda m: labels[m[0]], row, count=1) for row in rows
    ]
    (tmp_path / "clicks.csv").write_text("".join([header, *(rows + others) * 50]))
    for command in commands(PAGE):
        result = run_command_line(command, cwd=tmp_path)
        assert result.returncode == 0, f"{command}\n{result.stderr}"
    predictions = (tmp_path / "predictions.csv").read_text().splitlines()
    assert len(predictions) == 1 + 400
    head, first, *_ = (tmp_path / "scored.csv").read_text().splitlines()
    assert head == "user,tags,clicked,probability"
    assert first == f"u17,shoes|sale,no,{predictions[1]}"
    assert (tmp_path / "scored.parquet").exists()


def write_criteo(directory):
    """Write rows to files named like Criteo's, and copy the settings."""
    shutil.copytree(ROOT / "configs", directory / "configs")
    write_rows(directory / "train.txt", 9_000)
    for day in range(24):
        write_rows(directory / f"day_{day}", 500, seed=day)


def run_in_bash(command, directory):
    # The braces of `day_{0..23}` are bash's.
    result = run_command_line(f"bash -c {shlex.quote(command)}", cwd=directory)
    assert result.returncode == 0, f"{command}\n{result.stderr}"


@pytest.mark.slow
def test_the_commands_of_the_page_on_preparing_run(tmp_path, monkeypatch):
    write_criteo(tmp_path)
    page_commands = commands("docs/preparing.md")
    assert any("--engine spark" in command for command in page_commands)
    for command in page_commands:
        command = command.replace("spark://head:7077", "local[2]")
        if "benchmarks.prepare" in command:
            command += f" --rows '[2000]' --vocabulary_sizes '[]' --work_dir {tmp_path}"
        if "benchmarks.read" in command:
            command += f" --rows 20000 --seconds 0.1 --work_dir {tmp_path}"
        run_in_bash(command, tmp_path)
    (example,) = blocks("docs/preparing.md", "python")
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "docs/preparing.md", "exec"), {})


@pytest.mark.slow
@pytest.mark.parametrize("page", ["docs/criteo.md", "docs/from_nvidia.md"])
def test_the_commands_on_criteo_s_logs_run(page, tmp_path):
    write_criteo(tmp_path)
    for command in commands(page):
        if "compare" in command:
            command += " --learning_rates 0.03 --evaluations_per_epoch 2"
        run_in_bash(command, tmp_path)
