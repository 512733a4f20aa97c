"""Rows put into training, validation and test by their day or time."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipelines.columns import DaysBy
from pipelines.journal import Journal
from pipelines.log_values import KEYS_PER_DAY, TIME_KEY
from pipelines.progress import stage
from pipelines.spill import Spill
from pipelines.split import Split

SplitRows = Callable[[Sequence[int]], Split]


@dataclass(frozen=True)
class Cut:
    """A place in the order of rows by day or time, and then by row number.

    Args:
        key: Rows of an earlier key come before it.
        row: So do rows of this key with a lower number.
    """

    key: int
    row: int

    def is_before(self, keys: np.ndarray, start: int) -> np.ndarray:
        """Which rows come before it, `keys` being those of the rows from `start` on."""
        numbers = np.arange(start, start + len(keys))
        return (keys < self.key) | ((keys == self.key) & (numbers < self.row))


def split_by_time(
    spill: Spill, days_by: DaysBy, split_rows: SplitRows, journal: Journal
) -> tuple[Spill, Split]:
    """Bring spilled rows into the order training, validation, test.

    Days are the distinct ones that rows have, each with all its rows. A part of a day
    has its first rows by time, or by place in the files where there are only days.
    Whatever follows can then cut rows by their number.

    Args:
        spill: Typed rows with the column `TIME_KEY`.
        days_by: What that column is.
        split_rows: From the number of rows of each day to the split.
        journal: What an earlier run has finished.

    Returns:
        The rows in their new order, and the split.

    Raises:
        InputError: If no row is left to train on.
    """
    noted = journal.last("time cuts")
    if noted is None:
        noted = _find_cuts(spill, KEYS_PER_DAY[days_by.kind], split_rows)
        journal.add("time cuts", noted)
    split = split_rows(noted["rows_per_day"])
    cuts = [Cut(**each) if each else None for each in noted["cuts"]]
    _distribute(spill, cuts, journal)
    parts = [
        (_part_path(piece, number), rows)
        for number in range(3)
        for piece, entry in zip(
            spill.pieces, journal.entries("time piece"), strict=True
        )
        if (rows := entry["rows"][number])
    ]
    paths, rows_per_piece = zip(*parts, strict=True)
    return replace(spill, pieces=paths, rows_per_piece=rows_per_piece), split


def _find_cuts(
    spill: Spill, keys_per_day: int, split_rows: SplitRows
) -> dict[str, Any]:
    """The rows of each day, and where validation and test begin, for the journal."""
    rows_of_day: Counter[int] = Counter()
    for _, keys in _keys(spill):
        rows_of_day.update(_counted(keys // keys_per_day))
    days = sorted(rows_of_day)
    rows_per_day = [rows_of_day[day] for day in days]
    split = split_rows(rows_per_day)
    ends = list(accumulate(rows_per_day))
    cuts: list[dict[str, int] | None] = []
    for end in split.ends[:-1]:
        if end == ends[-1]:
            cuts.append(None)
            continue
        position = int(np.searchsorted(ends, end, side="right"))
        before = end - ends[position] + rows_per_day[position]
        cut = _cut_in_day(spill, days[position], keys_per_day, before)
        cuts.append({"key": cut.key, "row": cut.row})
    return {"rows_per_day": rows_per_day, "cuts": cuts}


def _cut_in_day(spill: Spill, day: int, keys_per_day: int, before: int) -> Cut:
    """The place in a day that so many of its rows come before."""
    rows_of_key: Counter[int] = Counter()
    for _, keys in _keys(spill):
        rows_of_key.update(_counted(keys[keys // keys_per_day == day]))
    for key in sorted(rows_of_key):
        if rows_of_key[key] > before:
            break
        before -= rows_of_key[key]
    for start, keys in _keys(spill):
        here = np.flatnonzero(keys == key)
        if len(here) > before:
            return Cut(key, start + int(here[before]))
        before -= len(here)
    raise RuntimeError(f"day {day} has fewer rows than were counted")


def _keys(spill: Spill) -> Iterator[tuple[int, np.ndarray]]:
    """Of each piece its first row's number and the keys."""
    starts = accumulate(spill.rows_per_piece, initial=0)
    for start, piece in zip(starts, spill.pieces, strict=False):
        yield start, pl.read_ipc(piece, columns=[TIME_KEY])[TIME_KEY].to_numpy()


def _counted(keys: np.ndarray) -> dict[int, int]:
    values, counts = np.unique(keys, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _distribute(spill: Spill, cuts: Sequence[Cut | None], journal: Journal) -> None:
    """Cut each piece into its rows for training, validation and test."""
    starts = list(accumulate(spill.rows_per_piece, initial=0))
    with stage("split by time", starts[-1]) as advance:
        for number in range(journal.count("time piece"), len(spill.pieces)):
            piece, start = spill.pieces[number], starts[number]
            frame = pl.read_ipc(piece)
            keys = frame[TIME_KEY].to_numpy()
            splits = np.zeros(len(keys), np.int8)
            for cut in cuts:
                if cut is not None:
                    splits += ~cut.is_before(keys, start)
            for split in range(3):
                part = frame.filter(splits == split)
                if part.height:
                    part.write_ipc(_part_path(piece, split))
            rows = np.bincount(splits, minlength=3).tolist()
            journal.add("time piece", {"rows": rows})
            piece.unlink()
            advance(starts[number + 1], starts[number + 1])


def _part_path(piece: Path, split: int) -> Path:
    return piece.with_name(f"{piece.stem}-{split}.arrow")
