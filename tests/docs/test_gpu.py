"""Run the commands of docs/gpu.md, and check what they and the README promise."""

import re

import pytest

from tests.docs.test_pages import blocks
from tests.support.processes import ROOT, run_command_line

PAGE = "docs/gpu.md"


def text(name):
    return (ROOT / name).read_text("utf-8")


@pytest.mark.slow
def test_the_commands_run(tmp_path):
    look, profile = blocks(PAGE, "bash")
    process = run_command_line(look, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert len(process.stdout.splitlines()) == 10
    process = run_command_line(f"set -e\n{profile}", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert re.search(r"^Computing on ", process.stdout, re.MULTILINE)
    assert (tmp_path / "runs" / "profiled" / "profile").is_dir()


def test_what_is_installed_is_there_and_of_one_version():
    # The commands of pip are not run: they fetch gigabytes.
    for name in re.findall(r"-r (\S+)", "".join(blocks(PAGE, "console"))):
        assert (ROOT / name).is_file()
    versions = re.findall(r"^tensorflow==(.+)", text("requirements.txt"), re.M)
    gpu = text("requirements-gpu.txt")
    assert re.findall(r"^tensorflow\[and-cuda\]==(.+)", gpu, re.M) == versions
    assert "\n-r requirements.txt\n" in gpu
    (latest,) = re.findall(r"^tensorflow==(\S+)", text("requirements-latest.txt"), re.M)
    assert f'"tensorflow[and-cuda]=={latest}"' in text(PAGE)


def test_it_is_said_that_no_gpu_was_there():
    for name in ("README.md", PAGE):
        assert "built and checked without a GPU" in text(name)
