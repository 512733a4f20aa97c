"""The commands of docs/tuning.md, as a reader would run them."""

import json
import shutil

import pytest
import yaml

from tests.docs.test_pages import blocks, commands
from tests.support.processes import ROOT, run_command_line
from tfdlrm.config import TrainConfig
from tfdlrm.tuning.space import Space

PAGE = "docs/tuning.md"
SMALLER = {
    "pipelines.synthetic": "--rows 6000",
    "tfdlrm.tune": "--trials 2 --epochs 1 --model.bottom_mlp_units [8]",
    "tfdlrm.compare": "--epochs 1 --seeds 0",
}
"""Options that make a command quick, by its module."""


def test_the_space_of_the_page_is_one(tmp_path):
    (text,) = blocks(PAGE, "yaml")
    (tmp_path / "space.yaml").write_text(text)
    space = Space.read(tmp_path / "space.yaml", TrainConfig())
    assert set(space.dimensions) == set(yaml.safe_load(text))


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path):
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (text,) = blocks(PAGE, "yaml")
    (tmp_path / "space.yaml").write_text(text)
    for command in commands(PAGE):
        options = SMALLER.get(command.split()[2], "")
        process = run_command_line(f"{command} {options}", cwd=tmp_path)
        assert process.returncode == 0, f"{command}\n{process.stderr}"
    assert (tmp_path / "runs" / "tune" / "trials.png").stat().st_size > 10_000
    report = (tmp_path / "runs" / "compare_best" / "report.json").read_text()
    names = [contender["name"].split(",")[0] for contender in json.loads(report)]
    assert names == ["quickstart", "best"]
