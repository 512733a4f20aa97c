"""The wheel: its contents, and its use outside of this repository."""

import os
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.processes import ROOT
from tfdlrm.diagnosis.works import USES


def run(*command, cwd, **environment):
    process = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of the files in version control, as a clone has them."""
    directory = tmp_path_factory.mktemp("wheel")
    archive = directory / "source.tar"
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone")
    run("git", "archive", "-o", str(archive), "HEAD", cwd=ROOT)
    (directory / "source").mkdir()
    run("tar", "-xf", str(archive), cwd=directory / "source")
    pip = (sys.executable, "-m", "pip")
    run(
        *(*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", str(directory), "."),
        cwd=directory / "source",
    )
    (path,) = directory.glob("*.whl")
    return path


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = [name for name in file.namelist() if ".dist-info/" not in name]
        metadata = file.read(
            next(name for name in file.namelist() if name.endswith("/METADATA"))
        ).decode()
    tracked = run("git", "ls-files", "tfdlrm", "pipelines", cwd=ROOT).splitlines()
    assert sorted(names) == sorted(tracked)
    assert "Requires-Dist: tensorflow>=" in metadata
    assert "License-Expression: Apache-2.0" in metadata


def requirements_of(file, **environment):
    """Return the requirements of a file that apply in an environment, by name."""
    lines = [line.partition("#")[0].strip() for line in file.read_text().splitlines()]
    requirements = [
        Requirement(line) for line in lines if line and not line.startswith("-r")
    ]
    return {
        canonicalize_name(requirement.name): requirement
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(environment)
    }


def project_requirements(*extras):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("python_version", ["3.11", "3.12", "3.13"])
def test_the_first_command_installs_what_the_wheel_allows(python_version):
    pins = requirements_of(ROOT / "requirements.txt", python_version=python_version)
    for requirement in project_requirements("serving", "tfrs"):
        (pin,) = pins[canonicalize_name(requirement.name)].specifier
        assert pin.operator == "=="
        assert pin.version in requirement.specifier, requirement


def test_a_wheel_beside_the_newest_tensorflow_needs_no_pin():
    pins = requirements_of(ROOT / "requirements-latest.txt")
    for requirement in project_requirements("serving", "tfrs"):
        (pin,) = pins[canonicalize_name(requirement.name)].specifier
        assert pin.version in requirement.specifier, requirement


def test_all_five_packages_of_the_application_are_installed_by_its_first_command():
    pins = requirements_of(ROOT / "requirements.txt", python_version="3.11")
    five = {
        "tensorflow",
        "tensorflow-recommenders",
        "keras",
        "tensorflow-io",
        "pytest",
    }
    assert five <= set(pins)
    newer = requirements_of(ROOT / "requirements.txt", python_version="3.13")
    assert five - set(newer) == {"tensorflow-io"}  # not there for Python 3.13


@pytest.mark.slow_variants
@pytest.mark.parametrize("use", USES[:4], ids=lambda use: use.commands)
def test_a_wheel_brings_what_its_commands_need(use):
    distributions = packages_distributions()
    needed = {
        canonicalize_name(distributions[name.partition(".")[0]][0])
        for name in use.packages
    }
    allowed = {
        canonicalize_name(requirement.name)
        for requirement in project_requirements("serving")
    }
    # jsonargparse[signatures] brings the parser of docstrings.
    assert needed - {"docstring-parser"} <= allowed


def test_the_wheel_does_not_need_the_test_runner():
    assert "pytest" not in {requirement.name for requirement in project_requirements()}


@pytest.mark.slow
def test_the_installed_wheel_works_from_another_folder(wheel, tmp_path):
    installed = tmp_path / "installed"
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
        *("--target", str(installed), str(wheel)),
        cwd=tmp_path,
    )
    python = (sys.executable, "-W", "error::ImportWarning")
    where = run(
        *(*python, "-c", "import tfdlrm, pipelines; print(tfdlrm.__file__)"),
        cwd=tmp_path,
        PYTHONPATH=str(installed),
    )
    assert where.strip() == str(installed / "tfdlrm" / "__init__.py")
    for command in (
        "pipelines.synthetic --rows 2000 --output_file clicks.tsv",
        "tfdlrm.train --raw clicks.tsv --run_dir run --export_dir model "
        "--model.embedding_dim 4",
        "tfdlrm.predict --model model --raw clicks.tsv --output_file scores.csv",
    ):
        run(*python, "-m", *command.split(), cwd=tmp_path, PYTHONPATH=str(installed))
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 2_001
