"""What an interrupted run left is damaged: what was lost is made again."""

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import buckets, encoding
from pipelines.journal import Journal
from pipelines.prepare import prepare
from tests.own_log import CONFIG, DESCRIPTION, ROWS, write_log
from tests.test_resume import files_of

KINDS = ["piece", "file", "time piece", "vocabulary", "ids", "encoded", "shard"]


@pytest.fixture(scope="module", autouse=True)
def small_pieces():
    """Make every piece of work so small that a few rows are many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buckets, "MAX_SHARD_ROWS", 200)
        patch.setattr(encoding, "_WAITING_SHARE", 10**6)  # 8 kB of 8 GB
        patch.setattr(encoding, "_TABLES_SHARE", 10**9)  # a group for each column
        yield


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Raw files of a log of our own, and what to do with it."""
    directory = tmp_path_factory.mktemp("log")
    (directory / "columns.yaml").write_text(DESCRIPTION)
    raw = [
        write_log(directory / f"{start}.csv", ROWS[start : start + 400])
        for start in range(0, len(ROWS), 400)
    ]
    return raw, replace(CONFIG, columns=directory / "columns.yaml")


@pytest.fixture(scope="module")
def expected(log, tmp_path_factory):
    """The files that a run makes which nothing happens to."""
    output = tmp_path_factory.mktemp("whole") / "data"
    prepare(log[0], output, log[1])
    return files_of(output)


@pytest.fixture(scope="module")
def remains(log, tmp_path_factory):
    """What a run leaves that is interrupted after the third entry of a kind."""
    made: dict[str, Path] = {}
    add = Journal.add

    def make(kind: str) -> Path:
        if kind in made:
            return made[kind]
        made[kind] = tmp_path_factory.mktemp("remains")

        def add_and_stop(journal, name, entry):
            add(journal, name, entry)
            if name == kind and journal.count(kind) == 3:
                raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Journal, "add", add_and_stop)
            with pytest.raises(KeyboardInterrupt):
                prepare(log[0], made[kind] / "data", log[1])
        return made[kind]

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


def some_of_each_kind(directory: Path, rng: random.Random) -> list[Path]:
    """The journal, and of the files that it speaks of one of each folder and suffix."""
    journal = directory / ".data.partial" / "work" / "journal.jsonl"
    groups = {("", ""): [journal]}
    for path in sorted(Journal(journal).kept()):
        groups.setdefault((path.parent.name, path.suffix), []).append(path)
    return [rng.choice(paths) for paths in groups.values()]


@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        *((kind, 0) for kind in KINDS),
        *(
            pytest.param(kind, seed, marks=pytest.mark.slow)
            for kind in KINDS
            for seed in range(1, 12)
        ),
    ],
)
def test_what_was_damaged_is_made_again_and_said(
    log, expected, remains, tmp_path, capsys, kind, seed
):
    rng = random.Random(f"{kind} {seed}")
    left = remains(kind)
    for number, path in enumerate(some_of_each_kind(left, rng)):
        directory = tmp_path / str(number)
        shutil.copytree(left, directory)
        damaged = directory / path.relative_to(left)
        rng.choice(DAMAGES)(damaged, rng)
        capsys.readouterr()
        prepare(log[0], directory / "data", log[1])
        assert files_of(directory / "data") == expected, damaged
        said = capsys.readouterr().out
        assert damaged.name in said or "lost its journal" in said
        shutil.rmtree(directory)
