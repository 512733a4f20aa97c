"""Run the commands of docs/distribution.md, as a reader would."""

import re

import pytest

from benchmarks.laboratory.loopback import free_addresses
from tests.docs.test_pages import blocks
from tests.support.processes import ROOT, run_command_line

PAGE = "docs/distribution.md"


@pytest.mark.slow
def test_the_commands_run(tmp_path):
    one_machine, several, benchmark, table_sizes = blocks(PAGE, "bash")
    process = run_command_line(f"set -e\n{one_machine}", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "runs" / "sharded" / "report.md").is_file()

    for address in free_addresses(2):  # in place of those shown, which may be taken
        several = re.sub(r"localhost:222\d", address, several, count=1)
    process = run_command_line(several, cwd=tmp_path)
    assert process.stdout.count("Training ") == 2, process.stderr
    assert process.stdout.count("Report: runs/workers/report.md") == 1
    assert (tmp_path / "saved_models" / "workers" / "1" / "saved_model.pb").is_file()

    small = "--workers '[2]' --batch_size 64 --table_scale 0.0001 --steps 2"
    process = run_command_line(f"{benchmark.strip()} {small}", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("| multi_worker |") == 1
    assert process.stdout.count("| mirrored     |") == 3

    _, compared = table_sizes.strip().splitlines()
    small = "--table_mb 0.1,0.2 --batch_size 64 --steps 2 --rounds 1"
    compared = compared.replace("../before", str(ROOT))
    process = run_command_line(f"{compared} {small}", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("| mirrored     |") == 2


def test_the_python_of_the_page_runs():
    (example,) = blocks(PAGE, "python")
    exec(compile(example, PAGE, "exec"), {})
