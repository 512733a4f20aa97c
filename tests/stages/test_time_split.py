"""Splits by day and time against a plain sort of the rows."""

import numpy as np
import polars as pl
import pytest

from pipelines.logs.bad_rows import SkippedRows
from pipelines.logs.columns import DaysBy
from pipelines.logs.values import TIME_KEY
from pipelines.stages.journal import Journal
from pipelines.stages.spill import Spill
from pipelines.stages.split import split_rows
from pipelines.stages.time_split import split_by_time
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig


def spill_of(directory, keys, piece_rows):
    directory.mkdir(exist_ok=True)
    frame = pl.DataFrame({TIME_KEY: keys, "row": np.arange(len(keys))})
    pieces, rows = [], []
    for piece in frame.iter_slices(piece_rows):
        pieces.append(directory / f"{len(pieces):06d}.arrow")
        piece.write_ipc(pieces[-1])
        rows.append(piece.height)
    return Spill(tuple(pieces), tuple(rows), (len(keys),), ("",), SkippedRows())


def run(directory, keys, day_or_time, piece_rows=7, **settings):
    """Return the split and the row numbers of its parts."""
    spill = spill_of(directory, keys, piece_rows)
    config = PrepareConfig(**settings)
    journal = Journal(directory / "journal.jsonl")
    spill, split = split_by_time(
        spill,
        DaysBy("t", day_or_time),
        lambda rows: split_rows(rows, config, True),
        journal,
    )
    rows = pl.concat([pl.read_ipc(p) for p in spill.pieces])
    assert spill.rows_per_piece == tuple(pl.read_ipc(p).height for p in spill.pieces)
    return split, [
        rows["row"][r.start : r.stop].to_list() for r in split.ranges().values()
    ]


def test_the_last_distinct_days_are_held_out(tmp_path):
    keys = np.array([3, 9, 3, -2, 9, 4, 4, -2, 3, 9])
    split, parts = run(tmp_path, keys, "day", 3, validation_days=1, test_days=1)
    assert split.rows_per_day == (2, 3, 2, 3)
    assert parts == [[0, 2, 3, 7, 8], [5, 6], [1, 4, 9]]


@pytest.mark.slow_variants
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("day_or_time", "per_day"), [("day", 1), ("time", 86_400)])
def test_parts_of_days_follow_time_and_then_the_files(
    tmp_path, seed, day_or_time, per_day
):
    rng = np.random.default_rng(seed)
    keys = rng.integers(-2, 4, 200) * per_day + rng.integers(0, min(per_day, 5), 200)
    split, parts = run(
        tmp_path, keys, day_or_time, 16, validation_days=0.75, test_days=1.5
    )
    order = np.argsort(keys, kind="stable")
    days, counts = np.unique(keys // per_day, return_counts=True)
    assert split.rows_per_day == tuple(counts)
    assert len(days) == 6
    for part, rows in zip(parts, split.ranges().values(), strict=True):
        assert part == sorted(order[rows.start : rows.stop])


def test_the_order_of_the_files_does_not_matter_beyond_equal_times(tmp_path):
    keys = np.arange(100) * 9_000
    shuffled = np.random.default_rng(0).permutation(keys)
    for name, keys_in_order in [("a", keys), ("b", shuffled)]:
        _, parts = run(tmp_path / name, keys_in_order, "time")
        keys_of_parts = [sorted(keys_in_order[part]) for part in parts]
        if name == "a":
            expected = keys_of_parts
    assert keys_of_parts == expected


def test_nothing_may_be_held_out(tmp_path):
    _, parts = run(tmp_path, np.arange(20), "day", validation_days=0, test_days=0)
    assert parts == [list(range(20)), [], []]


@pytest.mark.parametrize("held_out", [(1, 1), (0.5, 0.5), (0, 1)])
def test_a_single_day_is_not_cut_into_several(tmp_path, held_out):
    keys = np.full(70, 19_844)
    names = ("validation_days", "test_days")
    settings = dict(zip(names, held_out, strict=True))
    message = r"of 1 day, .*the rows have 1 day: 2024-05-01 \(day 19844\)"
    with pytest.raises(InputError, match=message):
        run(tmp_path, keys, "day", **settings)


def test_parts_of_a_single_day_may_be_held_out(tmp_path):
    keys = np.arange(100)[::-1].copy()
    split, parts = run(tmp_path, keys, "time", validation_days=0.25, test_days=0.25)
    assert split.rows_per_day == (100,)
    assert [sorted(part) for part in parts] == [
        list(range(50, 100)),
        list(range(25, 50)),
        list(range(25)),
    ]


def test_holding_out_all_days_is_refused(tmp_path):
    message = "hold out 3 of 3 days, .*the rows have 3 days: day 0 to day 2"
    with pytest.raises(InputError, match=message):
        run(tmp_path, np.arange(3), "day", validation_days=2, test_days=1)


@pytest.mark.parametrize("lines", range(1, 6))
def test_a_stopped_run_goes_on(tmp_path, lines):
    keys = np.random.default_rng(0).integers(0, 5, 50)
    expected = run(tmp_path / "whole", keys, "day", 12)[1]
    directory = tmp_path / "stopped"
    run(directory, keys, "day", 12)
    journal = directory / "journal.jsonl"
    remaining_lines = journal.read_text().splitlines(keepends=True)[:lines]
    journal.write_text("".join(remaining_lines))
    for number in range(lines - 1):  # those are removed already
        (directory / f"{number:06d}.arrow").unlink(missing_ok=True)
    spill = spill_of(tmp_path / "again", keys, 12)
    for piece in spill.pieces[lines - 1 :]:
        piece.replace(directory / piece.name)
    spill = Spill(
        tuple(directory / piece.name for piece in spill.pieces),
        *(spill.rows_per_piece, spill.rows_per_file, ("",), SkippedRows()),
    )
    spill, split = split_by_time(
        spill,
        DaysBy("t", "day"),
        lambda rows: split_rows(rows, PrepareConfig(), True),
        Journal(journal),
    )
    rows = pl.concat([pl.read_ipc(p) for p in spill.pieces])["row"]
    assert [
        rows[r.start : r.stop].to_list() for r in split.ranges().values()
    ] == expected
