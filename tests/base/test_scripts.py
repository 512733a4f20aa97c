"""Commands by the names that installing the wheel gives them."""

import sys
import tomllib
from importlib.util import find_spec

import pytest

from tests.support.processes import ROOT
from tfdlrm.base import scripts
from tfdlrm.base.scripts import module_of


def scripts_of_the_wheel():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


def test_each_command_has_a_script():
    commands = {
        f"{package}.{path.stem}"
        for package in ("tfdlrm", "pipelines")
        for path in (ROOT / package).glob("*.py")
        if path.stem != "__init__"
    }
    assert {module_of(name) for name in scripts_of_the_wheel()} == commands
    assert set(scripts_of_the_wheel().values()) == {"tfdlrm.base.scripts:run"}


@pytest.mark.parametrize("name", sorted(scripts_of_the_wheel()))
def test_a_script_runs_a_module_that_exists(name):
    assert find_spec(module_of(name)) is not None


def test_a_script_is_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/tfdlrm-plan", "--help"])
    monkeypatch.setattr("tfdlrm.base.exit_status.leave", sys.exit)
    with pytest.raises(SystemExit) as ended:
        scripts.run()
    assert ended.value.code == 0
    assert "usage: python -m tfdlrm.plan " in capsys.readouterr().out
