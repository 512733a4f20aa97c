"""Rows put into training, validation and test by their day or time."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.logs.columns import DaysBy
from pipelines.logs.times import describe_day
from pipelines.logs.values import KEYS_PER_DAY, TIME_KEY
from pipelines.stages.journal import Journal
from pipelines.stages.spill import Spill, write_piece
from pipelines.stages.split import Split
from tfdlrm.base.errors import InputError
from tfdlrm.base.kept_files import KeptFile
from tfdlrm.base.progress import stage

SplitRows = Callable[[Sequence[int]], Split]


@dataclass(frozen=True)
class PieceKeys:
    """The days or times of a piece.

    Args:
        number: The piece.
        start: Number of its first row.
        keys: Of each row, int64.
    """

    number: int
    start: int
    keys: np.ndarray


@dataclass(frozen=True)
class Parts:
    """What `distribute` made of a piece.

    Args:
        rows: Number of rows for training, validation and test.
        files: The files of those that have rows.
    """

    rows: list[int]
    files: list[KeptFile]


MapKeys = Callable[[Callable[[PieceKeys], Any]], Iterable[Any]]


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

    def map_keys(function: Callable[[PieceKeys], Any]) -> Iterator[Any]:
        for number in range(len(spill.pieces)):
            yield function(piece_keys(spill, number))

    noted = journal.last("time cuts")
    if noted is None:
        noted = find_cuts(map_keys, KEYS_PER_DAY[days_by.kind], split_rows)
        journal.add("time cuts", noted)
    with stage("split by time", sum(spill.rows_per_piece)) as advance:
        done = 0
        for number in range(journal.count("time piece"), len(spill.pieces)):
            parts = distribute(spill, number, noted)
            entry = {
                "rows": parts.rows,
                "files": journal.note(parts.files),
                "released": [journal.name(spill.pieces[number])],
            }
            journal.add("time piece", entry)
            spill.pieces[number].unlink(missing_ok=True)
            done += sum(parts.rows)
            advance(done, done)
    all_parts = [
        Parts(entry["rows"], journal.files_of(entry))
        for entry in journal.entries("time piece")
    ]
    split = split_rows(noted["rows_per_day"])
    return in_split_order(spill, all_parts), split


def piece_keys(spill: Spill, number: int) -> PieceKeys:
    """The days or times of a piece."""
    keys = spill.read(number, [TIME_KEY])[TIME_KEY]
    return PieceKeys(number, spill.starts[number], keys.to_numpy())


def distribute(spill: Spill, number: int, noted: Mapping[str, Any]) -> Parts:
    """Cut a piece into its rows for training, validation and test.

    Args:
        spill: Typed rows with the column `TIME_KEY`.
        number: The piece.
        noted: What `find_cuts` gave.

    Returns:
        The parts.
    """
    frame = spill.read(number)
    keys, start = frame[TIME_KEY].to_numpy(), spill.starts[number]
    splits = np.zeros(len(keys), np.int8)
    for each in noted["cuts"]:
        if each is not None:
            splits += ~Cut(**each).is_before(keys, start)
    files = []
    for split in range(3):
        part = frame.filter(splits == split)
        if part.height:
            path = _part_path(spill.pieces[number], split)
            files.append(write_piece(part, path))
    return Parts(np.bincount(splits, minlength=3).tolist(), files)


def in_split_order(spill: Spill, parts: Sequence[Parts]) -> Spill:
    """Return the parts that `distribute` made, by split.

    Args:
        spill: The pieces that were cut.
        parts: The parts of each piece.
    """
    rows = {
        _part_path(piece, split): num_rows
        for split in range(3)
        for piece, each in zip(spill.pieces, parts, strict=True)
        if (num_rows := each.rows[split])
    }
    files = {file.path: file for each in parts for file in each.files}
    return replace(
        spill,
        pieces=tuple(rows),
        rows_per_piece=tuple(rows.values()),
        files=tuple(files[path] for path in rows),
    )


def find_cuts(
    map_keys: MapKeys, keys_per_day: int, split_rows: SplitRows
) -> dict[str, Any]:
    """The rows of each day, and where validation and test begin, for the journal.

    Args:
        map_keys: Gives a function the keys of each piece.
        keys_per_day: Of `KEYS_PER_DAY`.
        split_rows: From the number of rows of each day to the split.
    """
    rows_of_day = _total(map_keys(partial(_rows_of_day, keys_per_day)))
    days = sorted(rows_of_day)
    rows_per_day = [rows_of_day[day] for day in days]
    try:
        split = split_rows(rows_per_day)
    except InputError as error:
        seen = _in_words(days)
        raise InputError(f"{error}; the rows have {seen}") from None
    ends = list(accumulate(rows_per_day))
    cuts: list[dict[str, int] | None] = []
    for end in split.ends[:-1]:
        if end == ends[-1]:
            cuts.append(None)
            continue
        position = int(np.searchsorted(ends, end, side="right"))
        before = end - ends[position] + rows_per_day[position]
        cut = _cut_in_day(map_keys, days[position], keys_per_day, before)
        cuts.append({"key": cut.key, "row": cut.row})
    return {"rows_per_day": rows_per_day, "cuts": cuts}


def _in_words(days: Sequence[int]) -> str:
    """How many days there are, and the first and the last of them."""
    first, last = describe_day(days[0]), describe_day(days[-1])
    return (
        f"1 day: {first}" if len(days) == 1 else f"{len(days)} days: {first} to {last}"
    )


def _cut_in_day(map_keys: MapKeys, day: int, keys_per_day: int, before: int) -> Cut:
    """The place in a day that so many of its rows come before."""
    rows_of_key = _total(map_keys(partial(_rows_of_key, keys_per_day, day)))
    for key in sorted(rows_of_key):
        if rows_of_key[key] > before:
            break
        before -= rows_of_key[key]
    for piece, count in enumerate(map_keys(partial(_rows_with_key, key))):
        if count > before:
            places = map_keys(partial(_row_with_key, key, piece, before))
            return Cut(key, next(row for row in places if row is not None))
        before -= count
    raise RuntimeError(f"day {day} has fewer rows than were counted")


def _total(counts: Iterable[dict[int, int]]) -> Counter[int]:
    total: Counter[int] = Counter()
    for each in counts:
        total.update(each)
    return total


def _rows_of_day(keys_per_day: int, piece: PieceKeys) -> dict[int, int]:
    return _counted(piece.keys // keys_per_day)


def _rows_of_key(keys_per_day: int, day: int, piece: PieceKeys) -> dict[int, int]:
    return _counted(piece.keys[piece.keys // keys_per_day == day])


def _rows_with_key(key: int, piece: PieceKeys) -> int:
    return int(np.count_nonzero(piece.keys == key))


def _row_with_key(key: int, number: int, before: int, piece: PieceKeys) -> int | None:
    """The number of the row of this key that so many of a piece come before."""
    if piece.number != number:
        return None
    return piece.start + int(np.flatnonzero(piece.keys == key)[before])


def _counted(keys: np.ndarray) -> dict[int, int]:
    values, counts = np.unique(keys, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _part_path(piece: Path, split: int) -> Path:
    return piece.with_name(f"{piece.stem}-{split}.arrow")
