"""`python -m tfdlrm`: the table of commands, the version, and commands by name."""

import sys
from importlib import import_module

import pytest

from tests.support.processes import ROOT, run_command_line
from tfdlrm.base.commands import COMMANDS, module_of
from tfdlrm.base.errors import InputError
from tfdlrm.base.exit_status import run_command
from tfdlrm.base.version import __version__


def run_front(monkeypatch, capsys, *argv):
    """Return the exit status and what was printed."""
    monkeypatch.setattr(sys, "argv", ["tfdlrm", *argv])
    monkeypatch.setattr("tfdlrm.base.exit_status.leave", sys.exit)
    with pytest.raises(SystemExit) as ended:
        run_command(import_module("tfdlrm.__main__").main)
    printed = capsys.readouterr()
    return ended.value.code, printed.out, printed.err


@pytest.mark.parametrize("argv", [(), ("--help",), ("-h",)])
def test_all_commands_are_in_the_table(argv, monkeypatch, capsys):
    status, text, _ = run_front(monkeypatch, capsys, *argv)
    assert status == 0
    assert max(map(len, text.splitlines())) <= 80
    for package in ("tfdlrm", "pipelines"):
        for path in (ROOT / package).glob("[a-z]*.py"):
            assert f"  python -m {package}.{path.stem} " in text
    assert len(
        [line for line in text.splitlines() if line[:10] == "  python -"]
    ) == len(COMMANDS)


def test_the_version_is_printed(monkeypatch, capsys):
    status, text, _ = run_front(monkeypatch, capsys, "--version")
    assert (status, text) == (0, f"tfdlrm {__version__}\n")


@pytest.mark.parametrize("name", ["verify", "pipelines.verify"])
def test_a_command_runs_by_its_name(name, monkeypatch, capsys):
    status, text, _ = run_front(monkeypatch, capsys, name, "--help")
    assert status == 0
    assert text.startswith("usage: python -m pipelines.verify --data_dir PATH")
    status, _, errors = run_front(monkeypatch, capsys, name, "--data_dir", "nowhere")
    assert status == 2
    assert errors.startswith("error: ") and errors.count("\n") == 1


@pytest.mark.parametrize(
    ("word", "meant"), [("trian", "train"), ("prep", "prepare"), ("--verson", "")]
)
def test_another_word_is_refused_with_the_nearest_command(
    word, meant, monkeypatch, capsys
):
    status, _, errors = run_front(monkeypatch, capsys, word)
    assert status == 2
    assert errors.startswith(f"error: tfdlrm has no command '{word}'")
    assert errors.count("\n") == 1
    assert f"did you mean {meant}" in errors or not meant


def test_a_dash_in_a_name_is_no_error():
    assert module_of("random-data") == "pipelines.random_data"
    with pytest.raises(InputError, match="no command"):
        module_of("tfdlrm")


def test_a_process_of_its_own_lists_commands():
    process = run_command_line("python -m tfdlrm")
    assert process.returncode == 0
    assert "python -m pipelines.prepare" in process.stdout
