"""The benchmark of a step by the size of its tables."""

import pytest

from benchmarks import table_sizes
from benchmarks.laboratory.processes import ROOT
from benchmarks.runs.distributed_step import DistributedTime
from benchmarks.table_sizes import TableSizesConfig, scale_of, table
from benchmarks.workload.criteo_kaggle import vocabulary_sizes
from tests.benchmarks.test_benchmarks import cells
from tfdlrm.base.errors import InputError


@pytest.fixture
def other_version(tmp_path):
    step = tmp_path / "benchmarks" / "distributed_step.py"
    step.parent.mkdir()
    step.touch()
    return tmp_path


def test_tables_have_the_size_that_was_asked_for():
    rows = sum(vocabulary_sizes(scale_of(83)))
    assert rows * 16 * 4 / 1e6 == pytest.approx(83, rel=1e-4)


def test_steps_are_compared_with_the_smallest_tables_and_with_before():
    now = {("mirrored", 17.0): 20.0, ("mirrored", 832.0): 22.0}
    before = {("mirrored", 17.0): 30.0, ("mirrored", 832.0): 330.0}
    assert cells(table(now, before))[1:] == [
        ["mirrored", "17.0", "20.0", "1.00", "30.0", "1.00", "1.50"],
        ["mirrored", "832", "22.0", "1.10", "330", "11.0", "15.0"],
    ]
    assert cells(table(now, None))[1:] == [
        ["mirrored", "17.0", "20.0", "1.00"],
        ["mirrored", "832", "22.0", "1.10"],
    ]


def test_versions_are_measured_in_turn_and_medians_count(
    monkeypatch, capsys, other_version
):
    ran = []

    def run(num_workers, job, source):
        ran.append((num_workers, job.strategy, job.devices, source))
        slower = 10 if source == other_version else 1
        return DistributedTime(
            ms=slower * [1.0, 100.0, 2.0][(len(ran) - 1) // 4], **unused
        )

    unused = {"sent": None, "held": 0}
    monkeypatch.setattr(table_sizes, "run", run)
    table_sizes.main(
        f"--before {other_version} --table_mb 17 --strategies mirrored,multi_worker "
        "--rounds 3".split()
    )
    one_round = [
        (1, "mirrored", 2, other_version),
        (1, "mirrored", 2, ROOT),
        (2, "multi_worker", 1, other_version),
        (2, "multi_worker", 1, ROOT),
    ]
    assert ran == one_round * 3
    rows = cells(capsys.readouterr().out)[1:]
    assert [row[0] for row in rows] == ["mirrored", "multi_worker"]
    assert [row[2:] for row in rows] == [["2.00", "1.00", "20.0", "1.00", "10.0"]] * 2


def test_a_measurement_that_fails_leaves_the_others(monkeypatch, capsys):
    def run(num_workers, job, source):
        if num_workers == 2:
            raise InputError("a worker is gone")
        return DistributedTime(ms=3.0, sent=None, held=0)

    monkeypatch.setattr(table_sizes, "run", run)
    with pytest.raises(SystemExit, match="some measurements failed"):
        table_sizes.main(["--table_mb=17", "--rounds=1"])
    printed = capsys.readouterr()
    assert "multi_worker, tables of 17 MB, " in printed.err
    assert "failed: a worker is gone" in printed.err
    assert [row[2:] for row in cells(printed.out)[1:]] == [
        ["3.00", "1.00"],
        ["3.00", "1.00"],
        ["-", "-"],
    ]


@pytest.mark.parametrize(
    "wrong", [{"table_mb": ()}, {"table_mb": (0.0,)}, {"rounds": 0}, {"strategies": ()}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match="expected"):
        TableSizesConfig(**wrong)


def test_another_version_has_to_be_a_checkout(tmp_path):
    with pytest.raises(InputError, match="git worktree add DIRECTORY COMMIT"):
        TableSizesConfig(before=tmp_path)
