"""The commands of docs/daily.md, as a reader and as a scheduler would run them."""

import datetime
import shutil

import pytest

from tests.docs.test_pages import blocks, commands
from tests.support.processes import run_command_line

PAGE = "docs/daily.md"
SMALLER = {
    "pipelines.synthetic": "--rows 6000",
    "tfdlrm.train": "--model.bottom_mlp_units [8] --model.top_mlp_units [8]",
    "tfdlrm.rolling": "--model.bottom_mlp_units [8] --model.top_mlp_units [8]",
}
"""Options that make a command quick, by its module."""


@pytest.mark.slow
def test_the_commands_of_the_page_run_and_then_every_night(tmp_path):
    for command in commands(PAGE):
        options = SMALLER.get(command.split()[2], "")
        process = run_command_line(f"{command} {options}", cwd=tmp_path)
        assert process.returncode == 0, f"{command}\n{process.stderr}"
    report = (tmp_path / "runs" / "rolling" / "report.md").read_text()
    assert report.count("| warm |") == report.count("| cold |") == 3
    versions = {path.name for path in (tmp_path / "saved_models" / "rolling").iterdir()}
    assert versions == {"2", "3", "4"}

    today = datetime.date.today()
    yesterday = today - datetime.timedelta(days=1)
    (tmp_path / "logs").mkdir()
    shutil.copy(tmp_path / "days" / "day_3.txt", tmp_path / "logs" / f"{today}.txt")
    for folder in ("data", "runs"):
        (tmp_path / folder / "day2").rename(tmp_path / folder / str(yesterday))
    (nightly,) = blocks(PAGE, "sh")
    nightly = nightly.replace("tfdlrm.train", f"tfdlrm.train {SMALLER['tfdlrm.train']}")
    (tmp_path / "nightly.sh").write_text(nightly)
    process = run_command_line("sh nightly.sh", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "measures" / f"{today}.json").is_file()
    assert (tmp_path / "saved_models" / "daily" / "3" / "saved_model.pb").is_file()
