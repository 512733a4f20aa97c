"""Put rows into training, validation and test by their day or time."""

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
        number: Number of the piece.
        start: Number of its first row.
        keys: Day or time of each row, int64.
    """

    number: int
    start: int
    keys: np.ndarray


@dataclass(frozen=True)
class Parts:
    """The parts of a piece for training, validation and test.

    Args:
        rows: Number of rows of each part.
        files: The files of the parts that have rows.
    """

    rows: list[int]
    files: list[KeptFile]


MapKeys = Callable[[Callable[[PieceKeys], Any]], Iterable[Any]]


@dataclass(frozen=True)
class Cut:
    """A cut in the order of rows by day or time, and then by row number.

    Args:
        key: Day or time; rows with an earlier one are before the cut.
        row: Row number; rows of the same day or time with a lower one are before it.
    """

    key: int
    row: int

    def is_before(self, keys: np.ndarray, start: int) -> np.ndarray:
        """Return which rows are before the cut.

        Args:
            keys: Day or time of consecutive rows.
            start: Number of the first of them.
        """
        numbers = np.arange(start, start + len(keys))
        return (keys < self.key) | ((keys == self.key) & (numbers < self.row))


def split_by_time(
    spill: Spill, days_by: DaysBy, split_rows: SplitRows, journal: Journal
) -> tuple[Spill, Split]:
    """Bring spilled rows into the order training, validation, test.

    The days are the distinct days of the rows, each with all its rows. A part of a day
    takes its first rows by time, or by file order where there are only days. Later
    stages can then cut rows by their number.

    Args:
        spill: Typed rows with the column `TIME_KEY`.
        days_by: The column with the day or time.
        split_rows: Returns the split from the number of rows of each day.
        journal: The finished steps, also of an earlier run.

    Returns:
        The rows in their new order, and the split.

    Raises:
        InputError: If no row is left to train on.
    """

    def map_keys(function: Callable[[PieceKeys], Any]) -> Iterator[Any]:
        for number in range(len(spill.pieces)):
            yield function(piece_keys(spill, number))

    cuts = journal.last("time cuts")
    if cuts is None:
        cuts = find_cuts(map_keys, KEYS_PER_DAY[days_by.kind], split_rows)
        journal.add("time cuts", cuts)
    with stage("split by time", sum(spill.rows_per_piece)) as advance:
        num_done = 0
        for number in range(journal.count("time piece"), len(spill.pieces)):
            parts = distribute(spill, number, cuts)
            entry = {
                "rows": parts.rows,
                "files": journal.note(parts.files),
                "released": [journal.name(spill.pieces[number])],
            }
            journal.add("time piece", entry)
            spill.pieces[number].unlink(missing_ok=True)
            num_done += sum(parts.rows)
            advance(num_done, num_done)
    all_parts = [
        Parts(entry["rows"], journal.files_of(entry))
        for entry in journal.entries("time piece")
    ]
    split = split_rows(cuts["rows_per_day"])
    return in_split_order(spill, all_parts), split


def piece_keys(spill: Spill, number: int) -> PieceKeys:
    """Read the days or times of a piece."""
    keys = spill.read(number, [TIME_KEY])[TIME_KEY]
    return PieceKeys(number, spill.starts[number], keys.to_numpy())


def distribute(spill: Spill, number: int, cuts: Mapping[str, Any]) -> Parts:
    """Cut a piece into its rows for training, validation and test.

    Args:
        spill: Typed rows with the column `TIME_KEY`.
        number: Number of the piece.
        cuts: The result of `find_cuts`.
    """
    frame = spill.read(number)
    keys, start = frame[TIME_KEY].to_numpy(), spill.starts[number]
    splits = np.zeros(len(keys), np.int8)
    for cut in cuts["cuts"]:
        if cut is not None:
            splits += ~Cut(**cut).is_before(keys, start)
    files = []
    for split in range(3):
        part = frame.filter(splits == split)
        if part.height:
            path = _part_path(spill.pieces[number], split)
            files.append(write_piece(part, path))
    return Parts(np.bincount(splits, minlength=3).tolist(), files)


def in_split_order(spill: Spill, parts: Sequence[Parts]) -> Spill:
    """Return the parts that `distribute` wrote as pieces, in the order of the splits.

    Args:
        spill: The pieces that were cut.
        parts: The parts of each piece.
    """
    rows = {
        _part_path(piece, split): num_rows
        for split in range(3)
        for piece, part in zip(spill.pieces, parts, strict=True)
        if (num_rows := part.rows[split])
    }
    files = {file.path: file for part in parts for file in part.files}
    return replace(
        spill,
        pieces=tuple(rows),
        rows_per_piece=tuple(rows.values()),
        files=tuple(files[path] for path in rows),
    )


def find_cuts(
    map_keys: MapKeys, keys_per_day: int, split_rows: SplitRows
) -> dict[str, Any]:
    """Return the rows of each day and the two cuts, for the journal.

    Args:
        map_keys: Calls a function with the keys of each piece.
        keys_per_day: A value of `KEYS_PER_DAY`.
        split_rows: Returns the split from the number of rows of each day.
    """
    rows_of_day = _total(map_keys(partial(_rows_of_day, keys_per_day)))
    days = sorted(rows_of_day)
    rows_per_day = [rows_of_day[day] for day in days]
    try:
        split = split_rows(rows_per_day)
    except InputError as error:
        days_in_words = _describe_days(days)
        raise InputError(f"{error}; the rows have {days_in_words}") from None
    ends = list(accumulate(rows_per_day))
    cuts: list[dict[str, int] | None] = []
    for end in split.ends[:-1]:
        if end == ends[-1]:
            cuts.append(None)
            continue
        position = int(np.searchsorted(ends, end, side="right"))
        rows_before = end - ends[position] + rows_per_day[position]
        cut = _cut_in_day(map_keys, days[position], keys_per_day, rows_before)
        cuts.append({"key": cut.key, "row": cut.row})
    return {"rows_per_day": rows_per_day, "cuts": cuts}


def _describe_days(days: Sequence[int]) -> str:
    """Return the number of days, and the first and the last one, as text."""
    first_day, last_day = describe_day(days[0]), describe_day(days[-1])
    return (
        f"1 day: {first_day}"
        if len(days) == 1
        else f"{len(days)} days: {first_day} to {last_day}"
    )


def _cut_in_day(
    map_keys: MapKeys, day: int, keys_per_day: int, rows_before: int
) -> Cut:
    """Return the cut in a day with `rows_before` of its rows before it."""
    rows_of_key = _total(map_keys(partial(_rows_of_key, keys_per_day, day)))
    for key in sorted(rows_of_key):
        if rows_of_key[key] > rows_before:
            break
        rows_before -= rows_of_key[key]
    for piece, count in enumerate(map_keys(partial(_rows_with_key, key))):
        if count > rows_before:
            row_numbers = map_keys(partial(_row_with_key, key, piece, rows_before))
            return Cut(key, next(row for row in row_numbers if row is not None))
        rows_before -= count
    raise RuntimeError(f"day {day} has fewer rows than were counted")


def _total(counts: Iterable[dict[int, int]]) -> Counter[int]:
    total: Counter[int] = Counter()
    for count in counts:
        total.update(count)
    return total


def _rows_of_day(keys_per_day: int, piece: PieceKeys) -> dict[int, int]:
    return _count_keys(piece.keys // keys_per_day)


def _rows_of_key(keys_per_day: int, day: int, piece: PieceKeys) -> dict[int, int]:
    return _count_keys(piece.keys[piece.keys // keys_per_day == day])


def _rows_with_key(key: int, piece: PieceKeys) -> int:
    return int(np.count_nonzero(piece.keys == key))


def _row_with_key(
    key: int, number: int, rows_before: int, piece: PieceKeys
) -> int | None:
    """Return the number of a piece's row with this key, counted from `rows_before`."""
    if piece.number != number:
        return None
    return piece.start + int(np.flatnonzero(piece.keys == key)[rows_before])


def _count_keys(keys: np.ndarray) -> dict[int, int]:
    values, counts = np.unique(keys, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _part_path(piece: Path, split: int) -> Path:
    return piece.with_name(f"{piece.stem}-{split}.arrow")
