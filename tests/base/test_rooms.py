"""Commands in the roots, rooms below, and what importing them loads."""

import subprocess
import sys

import pytest

import tfdlrm
from tests.support.processes import ROOT


@pytest.mark.parametrize("package", ["tfdlrm", "pipelines", "benchmarks"])
def test_the_root_of_a_package_holds_its_commands_and_nothing_else(package):
    files = {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py"}
    commands = {
        name
        for name in files
        if "__main__" in (ROOT / package / name).read_text("utf-8")
    }
    assert commands and files == commands


def test_each_room_has_a_folder_of_tests():
    rooms = {
        path.parent.name
        for package in ("tfdlrm", "pipelines")
        for path in (ROOT / package).glob("*/__init__.py")
    }
    tested = {path.parent.name for path in ROOT.glob("tests/*/test_*.py")}
    assert rooms <= tested


def test_settings_and_plans_load_no_tensorflow():
    modules = ["tfdlrm", "tfdlrm.data.schema", "pipelines.ids.dialects"]
    for room in ("base", "config", "planning"):
        names = sorted(path.stem for path in (ROOT / "tfdlrm" / room).glob("[a-z]*.py"))
        modules += [f"tfdlrm.{room}.{name}" for name in names]
    code = (
        f"import sys, {', '.join(modules)}; "
        "print({'tensorflow', 'keras'} & sys.modules.keys())"
    )
    command = [sys.executable, "-c", code]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (process.stdout.strip(), process.returncode) == ("set()", 0), process.stderr


def test_every_public_name_is_there():
    for name in tfdlrm.__all__:
        assert getattr(tfdlrm, name) is not None
    assert tfdlrm.DLRM is tfdlrm.models.DLRM
    assert tfdlrm.read_split is tfdlrm.data.read_split


def test_a_name_that_is_not_public_is_no_attribute():
    with pytest.raises(AttributeError, match="'tfdlrm' has no attribute 'Dlrm'"):
        _ = tfdlrm.Dlrm
