import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from pipelines.ids import coverage_picture
from pipelines.logs import opening
from pipelines.logs.criteo_file import RawFile
from pipelines.prepare import prepare
from pipelines.stages import buckets, encoding
from pipelines.stages.journal import Journal
from tests.support.prepared_runs import files_of, interrupted_after
from tests.support.processes import ROOT
from tests.support.raw_rows import make_rows, replace_field, write_rows
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig

ROWS = make_rows(1200, seed=3)
CONFIG = PrepareConfig(min_frequency=2, on_bad_row="skip")


def shrink(monkeypatch: pytest.MonkeyPatch | None = None) -> None:
    """Make all units of work so small that a few rows fill many; draw no picture."""
    settings = [
        (opening, "RawFile", partial(RawFile, chunk_bytes=20_000)),
        (buckets, "MAX_SHARD_ROWS", 200),
        (encoding, "_WAITING_SHARE", 10**6),  # 8 kB of 8 GB
        (coverage_picture, "draw", lambda features, dialect, path: None),
        (encoding, "_TABLES_SHARE", 8 * 10**5),  # 10 kB: several groups of columns
    ]
    for target, name, value in settings:
        (monkeypatch.setattr if monkeypatch else setattr)(target, name, value)


@pytest.fixture
def small_pieces(monkeypatch):
    shrink(monkeypatch)


@pytest.fixture
def raw(tmp_path):
    """A plain file and a zipped one, with a malformed line in each."""
    bad = replace_field(ROWS[0], 3, b"many")
    return [
        write_rows(tmp_path / "day_0", [*ROWS[:300], bad, *ROWS[300:700]]),
        write_rows(tmp_path / "day_1.gz", [b"", *ROWS[700:]]),
    ]


def skipped_rows(printed: str) -> list[str]:
    lines = printed.splitlines()
    start = lines.index("skipped 2 malformed rows")
    return lines[start : start + 3]


class Stop:
    """Interrupts a run just before or just after a journal entry is written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.countdown, self.is_after = 10**9, False
        self.steps: list[str] = []
        add = Journal.add

        def add_or_stop(journal, step, entry):
            self.steps.append(step)
            self.countdown -= 1
            if self.countdown or self.is_after:
                add(journal, step, entry)
            if not self.countdown:
                raise KeyboardInterrupt

        monkeypatch.setattr(Journal, "add", add_or_stop)


@pytest.mark.slow_variants
@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("stride", [pytest.param(1, marks=pytest.mark.slow), 5, 14])
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    raw, tmp_path, monkeypatch, capsys, stride, is_after
):
    stop = Stop(monkeypatch)
    prepare(raw, tmp_path / "whole", CONFIG)
    report = skipped_rows(capsys.readouterr().out)
    expected, steps = files_of(tmp_path / "whole"), stop.steps.copy()
    assert {steps.count(step) for step in ("file", "vocabulary")} == {2, 26}
    assert all(steps.count(step) > 4 for step in ("piece", "ids", "encoded", "shard"))
    stop.is_after = is_after
    num_stops = 0
    while not (tmp_path / "data").exists():
        # A resumed run has `stride` entries to add before it is stopped.
        stop.countdown = 1 + stride + is_after
        try:
            prepare(raw, tmp_path / "data", CONFIG)
        except KeyboardInterrupt:
            num_stops += 1
    assert num_stops >= len(steps) // (stride + 1 + is_after) - 1
    assert files_of(tmp_path / "data") == expected
    assert skipped_rows(capsys.readouterr().out) == report
    assert not (tmp_path / ".data.partial").exists()


_CHILD = """
import sys
from pathlib import Path
from pipelines.prepare import prepare
from tests.stages.test_resume import CONFIG, shrink
shrink()
prepare([Path(path) for path in sys.argv[2:]], Path(sys.argv[1]), CONFIG)
"""


def run_child(raw: list[Path], output: Path, **environment) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(output), *map(str, raw)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def journal_of(output: Path) -> Path:
    return output.with_name(f".{output.name}.partial") / "work" / "journal.jsonl"


def journal_size(output: Path) -> int:
    try:
        return journal_of(output).stat().st_size
    except FileNotFoundError:
        return 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "num_kills"),
    [(0, 3), *(pytest.param(seed, 12, marks=pytest.mark.slow) for seed in (1, 2))],
)
def test_a_killed_run_goes_on_to_the_same_bytes(
    raw, tmp_path, small_pieces, seed, num_kills
):
    rng = random.Random(seed)
    prepare(raw, tmp_path / "whole", CONFIG)
    output = tmp_path / "data"
    for _ in range(num_kills):
        child = run_child(raw, output)
        size_before = journal_size(output)
        while child.poll() is None and journal_size(output) == size_before:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 1 / num_kills))
        child.send_signal(signal.SIGKILL)
        assert child.wait() in (0, -signal.SIGKILL)
        assert not output.exists() or files_of(output) == files_of(tmp_path / "whole")
    assert run_child(raw, output).wait() == 0
    assert files_of(output) == files_of(tmp_path / "whole")


def interrupt(raw, output, step: str, config=CONFIG) -> None:
    """Stop a run after its third entry of a step."""
    with interrupted_after(step):
        prepare(raw, output, config)


@pytest.mark.slow_variants
@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    "step",
    [
        "piece",
        "shard",
        *(pytest.param(k, marks=pytest.mark.slow) for k in ("vocabulary", "encoded")),
    ],
)
def test_a_changed_input_is_noticed_before_going_on(raw, tmp_path, capsys, step):
    output = tmp_path / "data"
    interrupt(raw, output, step)
    assert "the same command continues from there" in capsys.readouterr().err
    with raw[0].open("rb+") as file:
        label = file.read(1)
        file.seek(0)
        file.write(b"0" if label == b"1" else b"1")
    prepare(raw, output, CONFIG)
    assert f"{raw[0]} has changed" in capsys.readouterr().out
    prepare(raw, tmp_path / "whole", CONFIG)
    assert files_of(output) == files_of(tmp_path / "whole")


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    "step",
    ["encoded", *(pytest.param(k, marks=pytest.mark.slow) for k in ("piece", "ids"))],
)
def test_another_memory_budget_and_a_touched_file_do_not_matter(
    raw, tmp_path, capsys, step
):
    output = tmp_path / "data"
    interrupt(raw, output, step)
    journal = journal_of(output)
    journal.write_bytes(journal.read_bytes() + b'["piece",{"file"')  # cut short
    os.utime(raw[0], (0, 0))
    prepare(raw, output, replace(CONFIG, memory_budget="5GB"))
    assert "resuming an earlier run from" in capsys.readouterr().out
    prepare(raw, tmp_path / "whole", CONFIG)
    assert files_of(output) == files_of(tmp_path / "whole")


@pytest.mark.usefixtures("small_pieces")
def test_other_settings_or_another_version_start_again(
    raw, tmp_path, monkeypatch, capsys
):
    output = tmp_path / "data"
    interrupt(raw, output, "encoded")
    other_config = replace(CONFIG, seed=1)
    interrupt(raw, output, "piece", other_config)
    assert ": seed was 0, is 1" in capsys.readouterr().out
    monkeypatch.setattr("pipelines.stages.building.__version__", "9.9")
    prepare(raw, output, other_config)
    assert "began it, this is 9.9" in capsys.readouterr().out
    prepare(raw, tmp_path / "whole", other_config)
    assert files_of(output) == files_of(tmp_path / "whole")


@pytest.mark.usefixtures("small_pieces")
def test_parquet_shards_that_are_whole_are_not_lost(raw, tmp_path):
    config = replace(CONFIG, record_format="parquet")
    output = tmp_path / "data"
    interrupt(raw, output, "shard", config)
    prepare(raw, output, config)
    prepare(raw, tmp_path / "whole", config)
    assert files_of(output) == files_of(tmp_path / "whole")


def test_a_file_that_grows_while_it_is_read_is_noticed(raw, tmp_path, monkeypatch):
    add = Journal.add

    def add_and_grow(journal, step, entry):
        add(journal, step, entry)
        if step == "piece":
            with raw[0].open("ab") as file:
                file.write(ROWS[0] + b"\n")

    monkeypatch.setattr(Journal, "add", add_and_grow)
    with pytest.raises(InputError, match="day_0 changed while it was read"):
        prepare(raw, tmp_path / "data", CONFIG)
    assert {path.name for path in tmp_path.iterdir()} == {"day_0", "day_1.gz"}


@pytest.mark.usefixtures("small_pieces")
def test_what_is_left_of_a_complete_run_is_removed(raw, tmp_path):
    output = tmp_path / "data"
    interrupt(raw, output, "shard")
    remains = tmp_path / ".data.partial"
    shutil.copytree(remains, tmp_path / "copy")
    schema = prepare(raw, output, CONFIG)
    (tmp_path / "copy").rename(remains)  # as if killed before it was removed
    assert prepare(raw, output, CONFIG) == schema
    assert not remains.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("small_pieces")
def test_the_number_of_threads_does_not_matter(raw, tmp_path):
    prepare(raw, tmp_path / "here", CONFIG)
    for threads in ("1", "2"):
        output = tmp_path / threads
        child = run_child(raw, output, POLARS_MAX_THREADS=threads)
        assert child.wait() == 0
        assert files_of(output) == files_of(tmp_path / "here")


def test_a_full_disk_leaves_nothing_and_says_how_much_is_needed(raw, tmp_path):
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (50_000, 50_000))
    process = subprocess.run(
        [
            *(sys.executable, "-m", "pipelines.prepare", "--on_bad_row", "skip"),
            *("--output", str(tmp_path / "data"), "--raw", *map(str, raw)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN), limit()),
    )
    assert process.returncode == 2
    assert "cannot be written: File too large" in process.stderr
    assert "0.0 GB as stored" in process.stderr
    assert process.stderr.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"day_0", "day_1.gz"}
