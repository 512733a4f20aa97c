"""Damage to the files of an interrupted run: lost steps are done again."""

import random
import re
import shutil
from dataclasses import replace
from pathlib import Path
from threading import Lock

import polars as pl
import pytest

from pipelines.ids.counting import ValueCounter
from pipelines.prepare import prepare
from pipelines.stages import buckets, encoding
from pipelines.stages.encoding import Encoder
from pipelines.stages.journal import Journal
from tests.support.own_log import CONFIG, DESCRIPTION, ROWS, write_log
from tests.support.prepared_runs import files_of, interrupted_after
from tfdlrm.base.errors import InputError
from tfdlrm.base.kept_files import (
    DamagedFileError,
    KeptFile,
    keep,
    read_note,
    write_note,
)

STEPS = ["piece", "file", "time piece", "vocabulary", "ids", "encoded", "shard"]


@pytest.fixture(scope="module", autouse=True)
def small_pieces():
    """Make all units of work so small that a few rows fill many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buckets, "MAX_SHARD_ROWS", 200)
        patch.setattr(encoding, "_WAITING_SHARE", 10**6)  # 8 kB of 8 GB
        patch.setattr(encoding, "_TABLES_SHARE", 10**9)  # a group for each column
        yield


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Raw files of a log that is not Criteo's, and the settings for it."""
    directory = tmp_path_factory.mktemp("log")
    (directory / "columns.yaml").write_text(DESCRIPTION)
    raw = [
        write_log(directory / f"{start}.csv", ROWS[start : start + 400])
        for start in range(0, len(ROWS), 400)
    ]
    return raw, replace(CONFIG, columns=directory / "columns.yaml")


@pytest.fixture(scope="module")
def expected(log, tmp_path_factory):
    """The files of a run that was not interrupted."""
    output = tmp_path_factory.mktemp("whole") / "data"
    prepare(log[0], output, log[1])
    return files_of(output)


@pytest.fixture(scope="module")
def remains(log, tmp_path_factory):
    """The directory of a run that is interrupted after the third entry of a step."""
    directories: dict[str, Path] = {}

    def make(step: str) -> Path:
        if step in directories:
            return directories[step]
        directories[step] = tmp_path_factory.mktemp("remains")
        with interrupted_after(step):
            prepare(log[0], directories[step] / "data", log[1])
        return directories[step]

    return make


def flip_a_bit(path: Path, rng: random.Random) -> None:
    contents = bytearray(path.read_bytes())
    contents[rng.randrange(len(contents))] ^= 1 << rng.randrange(8)
    path.write_bytes(contents)


def cut(path: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def lose(path: Path, rng: random.Random) -> None:
    path.unlink()


def fill_with_zeros(path: Path, rng: random.Random) -> None:
    path.write_bytes(bytes(path.stat().st_size))


DAMAGES = [flip_a_bit, cut, lose, fill_with_zeros]


def one_file_of_each_kind(directory: Path, rng: random.Random) -> list[Path]:
    """Return the journal, and one of its files for each folder and suffix."""
    journal = directory / ".data.partial" / "work" / "journal.jsonl"
    groups = {("", ""): [journal]}
    for path in sorted(Journal(journal).needed_files()):
        groups.setdefault((path.parent.name, path.suffix), []).append(path)
    return [rng.choice(paths) for paths in groups.values()]


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    ("step", "seed"),
    [
        *((step, 0) for step in STEPS),
        *(
            pytest.param(step, seed, marks=pytest.mark.slow)
            for step in STEPS
            for seed in range(1, 12)
        ),
    ],
)
def test_what_was_damaged_is_made_again_and_said(
    log, expected, remains, tmp_path, capsys, step, seed
):
    rng = random.Random(f"{step} {seed}")
    remaining = remains(step)
    for number, path in enumerate(one_file_of_each_kind(remaining, rng)):
        directory = tmp_path / str(number)
        shutil.copytree(remaining, directory)
        damaged = directory / path.relative_to(remaining)
        rng.choice(DAMAGES)(damaged, rng)
        # A journal that is cut between two lines looks like that of an earlier kill.
        is_shorter_journal = (
            damaged.suffix == ".jsonl"
            and damaged.exists()
            and damaged.read_bytes()[-1:] == b"\n"
            and path.read_bytes().startswith(damaged.read_bytes())
        )
        capsys.readouterr()
        prepare(log[0], directory / "data", log[1])
        assert files_of(directory / "data") == expected, damaged
        printed = capsys.readouterr().out
        if not is_shorter_journal:
            assert damaged.name in printed or "lost its journal" in printed
        shutil.rmtree(directory)


def other_shape(line: bytes) -> bytes:
    return b'{"piece":1}\n'


def not_utf_8(line: bytes) -> bytes:
    return b"\xff" + line[1:]


def zeros(line: bytes) -> bytes:
    return bytes(len(line))


def without_end(line: bytes) -> bytes:
    return line[: len(line) // 2]


def another_number(line: bytes) -> bytes:
    """Return a well-formed line of the same length."""
    digit = next(
        position
        for position in range(len(line))
        if line[position : position + 1] == b"4"
    )
    return line[:digit] + b"3" + line[digit + 1 :]


def deep(line: bytes) -> bytes:
    return b"[" * 100_000 + b"\n"


def nothing(line: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("position", [0, 2, -1])
@pytest.mark.parametrize(
    "change",
    [other_shape, not_utf_8, zeros, without_end, another_number, deep, nothing],
)
def test_nothing_from_a_damaged_line_of_a_journal_on_is_believed(
    tmp_path, change, position
):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    for number in range(5):
        journal.add("piece", {"rows": 40 + number})
    lines = path.read_bytes().splitlines(keepends=True)
    lines[position] = change(lines[position])
    path.write_bytes(b"".join(lines))
    again = Journal(path)
    lines_before = lines[:position]
    assert again.entries("piece") == [
        {"rows": 40 + n} for n in range(len(lines_before))
    ]
    if (change, position) != (nothing, -1):
        assert f"{path}, line {len(lines_before) + 1} is damaged" in again.damage
    assert path.read_bytes() == b"".join(lines_before)
    again.add("piece", {"rows": 7})
    assert Journal(path).last("piece") == {"rows": 7}
    assert Journal(path).damage is None


def test_lines_that_changed_places_are_not_believed(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    for number in range(4):
        journal.add("piece", {"rows": number})
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1], lines[2] = lines[2], lines[1]
    path.write_bytes(b"".join(lines))
    assert Journal(path).count("piece") == 1


def test_a_lost_file_takes_back_what_was_made_from_it(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    paths = [tmp_path / f"{number}.arrow" for number in range(3)]
    for path in paths:
        path.write_bytes(path.name.encode())
        journal.add("piece", {"files": journal.note([keep(path)])})
    (tmp_path / "a.rows").write_bytes(b"ab")
    entry = {"files": journal.note([keep(tmp_path / "a.rows")])}
    journal.add("encoded", {**entry, "released": [journal.name(paths[2])]})
    paths[2].unlink()
    assert journal.go_back() == []
    (tmp_path / "a.rows").write_bytes(b"abc")  # it was being appended to
    assert journal.go_back() == []
    (tmp_path / "a.rows").write_bytes(b"aX")
    (problem,) = journal.go_back()
    assert problem == f"{tmp_path / 'a.rows'} has other contents than were written"
    # The third piece is needed again, but does not exist any more.
    assert (journal.count("encoded"), journal.count("piece")) == (0, 2)
    assert list(Journal(tmp_path / "journal.jsonl").needed_files()) == paths[:2]


def test_a_lost_work_directory_begins_again(log, expected, remains, tmp_path, capsys):
    for name in ("work", "data"):
        directory = tmp_path / name
        shutil.copytree(remains("shard"), directory)
        shutil.rmtree(directory / ".data.partial" / name)
        prepare(log[0], directory / "data", log[1])
        assert files_of(directory / "data") == expected
    printed = capsys.readouterr().out
    assert "has lost its journal: starting again" in printed
    assert re.search(r"is missing \(\d+ files in all\): made again", printed)


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    ("owner", "name", "suffix"),
    [
        (Encoder, "_fill_buckets", ".arrow"),
        (Encoder, "_fill_buckets", ".npy"),
        (Encoder, "_fill_buckets", ".parquet"),
        (buckets.Buckets, "take", ".rows"),
    ],
)
def test_damage_while_a_run_goes_on_is_noticed_where_the_bytes_are_read(
    log, expected, tmp_path, monkeypatch, capsys, owner, name, suffix
):
    method, lock = getattr(owner, name), Lock()
    damaged = []

    def damage_once(self, *args):
        with lock:  # threads take buckets
            if not damaged:
                paths = sorted((tmp_path / ".data.partial").rglob(f"*{suffix}"))
                damaged.append(paths[-1])
                flip_a_bit(paths[-1], random.Random(0))
        return method(self, *args)

    monkeypatch.setattr(owner, name, damage_once)
    prepare(log[0], tmp_path / "data", log[1])
    assert files_of(tmp_path / "data") == expected
    printed = capsys.readouterr().out
    assert f"{damaged[0]} has other contents than were written" in printed


def test_counts_that_went_to_disk_are_checked(tmp_path):
    counter = ValueCounter(memory_bytes=2_000, work=tmp_path)
    for start in range(0, 200, 20):
        counter.add(pl.Series(range(start, start + 20), dtype=pl.UInt32))
    path = sorted(tmp_path.glob("*.arrow"))[-1]
    flip_a_bit(path, random.Random(0))
    with pytest.raises(DamagedFileError, match="has other contents"):
        counter.counts()


def test_a_disk_that_never_gives_back_what_was_written_is_refused(
    log, tmp_path, monkeypatch
):
    def read(self):
        raise DamagedFileError(f"{self.path} has other contents than were written")

    monkeypatch.setattr(KeptFile, "read", read)
    with pytest.raises(InputError, match="in 3 tries: expected a disk that returns"):
        prepare(log[0], tmp_path / "data", log[1])
    assert list(tmp_path.iterdir()) == []


def test_a_note_is_read_as_it_was_written_or_not_at_all(tmp_path):
    path = tmp_path / "note.json"
    value = {"rows": [1, 2], "name": "é"}
    write_note(path, value)
    assert read_note(path) == value
    undamaged = path.read_bytes()
    for seed in range(50):
        flip_a_bit(path, random.Random(seed))
        assert read_note(path) in (None, value)
        path.write_bytes(undamaged)
    for contents in (b"", undamaged[:-5], bytes(len(undamaged)), b"\xff" * 9):
        path.write_bytes(contents)
        assert read_note(path) is None
    path.unlink()
    assert read_note(path) is None


def test_shards_of_a_run_that_was_taken_back_do_not_stay(
    log, expected, remains, tmp_path
):
    shutil.copytree(remains("encoded"), tmp_path / "copy")
    train = tmp_path / "copy" / ".data.partial" / "data" / "train"
    train.mkdir()
    (train / "part-00099-of-00100.tfrecord").write_bytes(b"rows")
    prepare(log[0], tmp_path / "copy" / "data", log[1])
    assert files_of(tmp_path / "copy" / "data") == expected
