"""The wheel: what it holds, and that it works away from this repository."""

import os
import subprocess
import sys
import zipfile

import pytest

from tests.support.processes import ROOT


def run(*command, cwd, **environment):
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from the files that are in version control, as a clone has them."""
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
        described = file.read(
            next(each for each in file.namelist() if each.endswith("/METADATA"))
        ).decode()
    tracked = run("git", "ls-files", "tfdlrm", "pipelines", cwd=ROOT).splitlines()
    assert sorted(names) == sorted(tracked)
    assert "Requires-Dist: tensorflow==" in described
    assert "License-Expression: Apache-2.0" in described


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
        "pipelines.synthetic --rows 2000 --output clicks.tsv",
        "tfdlrm.train --raw clicks.tsv --run_dir run --export_dir model "
        "--model.embedding_dim 4",
        "tfdlrm.predict --model model --input clicks.tsv --output scores.csv",
    ):
        run(*python, "-m", *command.split(), cwd=tmp_path, PYTHONPATH=str(installed))
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 2_001
