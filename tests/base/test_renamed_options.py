"""Old names of options, on the command line and in files of settings."""

from pathlib import Path

import pytest
import yaml

from pipelines.random_data import RandomDataCommand
from tfdlrm.base.command_line import parse
from tfdlrm.base.errors import InputError
from tfdlrm.base.renamed_options import rename_keys
from tfdlrm.predict import RENAMED, PredictCommand

EXPECTED = PredictCommand(Path("m"), Path("a.csv"), Path("b.csv"))


def predict_command(*argv):
    return parse(
        PredictCommand, "tfdlrm.predict", ["--model", "m", *argv], None, RENAMED
    )


@pytest.mark.parametrize(
    "argv",
    ["--input a.csv --output b.csv", "--input=a.csv --output=b.csv"],
)
def test_an_old_name_works_with_a_line_about_the_new_one(argv, capsys):
    assert predict_command(*argv.split()) == EXPECTED
    assert capsys.readouterr().err.splitlines() == [
        "note: --input is now called --raw; the old name still works",
        "note: --output is now called --output_file; the old name still works",
    ]


def test_new_names_need_no_line(capsys):
    assert predict_command("--raw", "a.csv", "--output_file", "b.csv") == EXPECTED
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "text",
    [
        "input: a.csv\noutput: b.csv\n",
        "{'input': a.csv, \"output\": b.csv}",
        "# input: c\noutput : b.csv\ninput:\n  a.csv\n",
    ],
)
def test_an_old_key_of_a_file_works_with_a_line(text, tmp_path, capsys):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    assert predict_command("--config", str(path)) == EXPECTED
    errors = capsys.readouterr().err.splitlines()
    assert "note: settings.yaml: input is now called raw; the old name still works" in (
        errors
    )
    assert len(errors) == 2


def test_an_argument_with_the_new_name_wins_over_a_file_with_the_old(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("input: c.csv\noutput: b.csv\n")
    assert predict_command("--config", str(path), "--raw", "a.csv") == EXPECTED


@pytest.mark.parametrize("argv", ["--input a --raw b", "--raw=a --input=b"])
def test_both_names_at_once_are_refused(argv):
    with pytest.raises(InputError, match="--input is the old name of --raw, and both"):
        predict_command(*argv.split(), "--output_file", "b.csv")


def test_both_keys_in_a_file_are_refused(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("input: a\nraw: b\n")
    with pytest.raises(
        InputError, match=r"^settings\.yaml: input is the old name of raw"
    ):
        predict_command("--config", str(path))


def test_a_value_that_reads_like_an_old_name_stays():
    command = predict_command("--raw", "input", "--output_file", "output")
    assert (command.raw, command.output_file) == (Path("input"), Path("output"))


def test_the_settings_are_printed_under_the_new_names(capsys):
    with pytest.raises(SystemExit):
        predict_command("--input", "a.csv", "--output", "b.csv", "--print_config")
    settings = yaml.safe_load(capsys.readouterr().out)
    assert settings["raw"] == "a.csv" and settings["output_file"] == "b.csv"
    assert not settings.keys() & RENAMED.keys()


def test_a_nested_key_is_not_renamed():
    text = "prepare: {input: 3}\nother: [input]\n"
    assert rename_keys(text, {"input": "raw"}, "settings.yaml") == text


def test_a_setting_keeps_how_it_was_written(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(
        "rows: 9\ndeviation: 1e-3\nids: gaussian\noutput: x\nvocabulary_sizes: [3]"
    )
    argv = ["--config", str(path)]
    command = parse(
        RandomDataCommand,
        "pipelines.random_data",
        argv,
        None,
        {"output": "output_file"},
    )
    assert (command.deviation, command.output_file) == (0.001, Path("x"))
