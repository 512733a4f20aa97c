"""Run the commands of the page on long runs in order, as a reader would."""

import shutil

import pytest

from tests.docs.test_pages import commands
from tests.support.processes import ROOT, run_command_line

PAGE = "docs/long_runs.md"
SMALLER = {
    "pipelines.synthetic": "--rows 6000",
    "tfdlrm.train": "--model.bottom_mlp_units [8] --model.top_mlp_units [8]",
    "benchmarks.plan": "--table_scales '[0.001]' --batch_size 256 --steps 20",
    "benchmarks.checkpoints": "--table_scale 0.0001 --batch_size 64",
    "benchmarks.end_to_end": "--table_scale 0.0001 --batch_size 64 --seconds 0.1 "
    "--repetitions 1 --steps_per_execution '[16]'",
}
"""Options that make a command quick, by its module."""


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path):
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    page_commands = commands(PAGE)
    modules = [command.split()[2] for command in page_commands]
    assert set(SMALLER) <= set(modules)
    for command, module in zip(page_commands, modules, strict=True):
        result = run_command_line(f"{command} {SMALLER.get(module, '')}", cwd=tmp_path)
        assert result.returncode == 0, f"{command}\n{result.stderr}"
    assert (tmp_path / "runs" / "long" / "report.md").is_file()
    assert list((tmp_path / "runs" / "profiled" / "profile").rglob("*.xplane.pb"))
