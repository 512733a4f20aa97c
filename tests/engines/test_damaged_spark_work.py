"""Damage to the files of an interrupted Spark run: lost steps are done again."""

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.engines import spark
from pipelines.prepare import prepare
from tests.engines.test_spark import SPARK, session
from tests.stages.test_damaged_work import DAMAGES, flip_a_bit
from tests.support.own_log import CONFIG, DESCRIPTION, ROWS, write_log
from tests.support.prepared_runs import files_of

__all__ = ["session"]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("session")]


@pytest.fixture
def log(tmp_path, monkeypatch):
    """Raw files of a log that is not Criteo's, and the settings for it."""
    (tmp_path / "columns.yaml").write_text(DESCRIPTION)
    raw = [
        write_log(tmp_path / f"{start}.csv", ROWS[start : start + 750])
        for start in range(0, len(ROWS), 750)
    ]
    monkeypatch.setattr(
        spark, "table_groups", lambda *_: (("user", "tags"), ("shops",))
    )
    return raw, replace(CONFIG, columns=tmp_path / "columns.yaml", **SPARK)


@pytest.fixture
def expected(log, tmp_path):
    output = tmp_path / "local"
    prepare(log[0], output, replace(log[1], engine="local", master=None))
    return files_of(output)


def stop_before(stage: str, log, output: Path) -> Path:
    def stop(*_args):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spark, stage, stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(log[0], output, log[1])
    return output.with_name(f".{output.name}.partial")


def test_what_was_damaged_is_made_again(log, expected, tmp_path, capsys):
    rng = random.Random(0)
    remaining = stop_before("make_schema", log, tmp_path / "left" / "data").parent
    groups: dict[tuple[str, str, bool], list[Path]] = {}
    for path in sorted(remaining.rglob("*")):
        # Parts of a split are written again by each run.
        if path.is_file() and not path.stem.endswith(("-0", "-1", "-2")):
            group = (path.parent.name, path.suffix, "shard" in path.name)
            groups.setdefault(group, []).append(path)
    assert len(groups) > 6
    for number, paths in enumerate(groups.values()):
        directory = tmp_path / str(number)
        shutil.copytree(remaining, directory)
        damaged = directory / rng.choice(paths).relative_to(remaining)
        rng.choice(DAMAGES)(damaged, rng)
        prepare(log[0], directory / "data", log[1])
        assert files_of(directory / "data") == expected, damaged
        capsys.readouterr()


def test_it_is_said_what_was_lost(log, expected, tmp_path, capsys):
    output = tmp_path / "data"
    partial = stop_before("make_schema", log, output)
    for folder, pattern, consequence in (
        ("work", "000001-000000.arrow", "read again from the raw files"),
        ("data/vocabulary", "user.parquet", ": made again"),
        ("data/train", "part-*", "written again"),
    ):
        (path, *_) = (partial / folder).glob(pattern)
        flip_a_bit(path, random.Random(0))
        stop_before("make_schema", log, output)
        printed = capsys.readouterr().out
        assert f"{path} has other contents than were written" in printed
        assert consequence in printed
    prepare(log[0], output, log[1])
    assert files_of(output) == expected


def test_another_input_is_noticed_although_its_part_was_lost(log, tmp_path, capsys):
    output = tmp_path / "data"
    partial = stop_before("write_shards", log, output)
    (partial / "work" / "000000.json").unlink()
    text = log[0][0].read_text()
    log[0][0].write_text(text.replace(",x,", ",y,", 1))
    prepare(log[0], output, log[1])
    assert f"{log[0][0]} has changed" in capsys.readouterr().out
