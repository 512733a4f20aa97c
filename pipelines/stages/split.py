"""Cut rows into training, validation and test by time, that is by file order."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import Any

from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data.schema import SPLITS

DEFAULT_DAYS = 7


@dataclass(frozen=True)
class Split:
    """The row numbers at which the rows of all files, in order, are cut.

    Args:
        rows_per_day: Number of rows in each day.
        ends: Row number at which each split ends.
        order: The splits in the order of their rows.
        are_days: Whether a column of the log has the days.
        is_given: Whether each split has files of its own.
    """

    rows_per_day: tuple[int, ...]
    ends: tuple[int, int, int]
    order: tuple[str, ...] = SPLITS
    are_days: bool = False
    is_given: bool = False

    def ranges(self) -> dict[str, range]:
        """Return the row numbers of each split, in the order of their rows."""
        starts = (0, *self.ends[:-1])
        return {
            name: range(start, end)
            for name, start, end in zip(self.order, starts, self.ends, strict=True)
        }

    def description(self, config: PrepareConfig) -> dict[str, Any]:
        """Describe the split for the schema."""
        rows = {name: len(rows) for name, rows in self.ranges().items()}
        if self.is_given:
            return {"files": "of each split", "rows": rows}
        return {
            "days": len(self.rows_per_day),
            "validation_days": config.validation_days,
            "test_days": config.test_days,
            "rows_per_day": list(self.rows_per_day),
            "rows": rows,
        }


def num_days(num_files: int, config: PrepareConfig, are_days: bool = False) -> int:
    """Return the number of days that rows are cut into.

    Args:
        num_files: Number of files.
        config: Settings, of which `days`, `validation_days` and `test_days` are used.
        are_days: Whether each "file" is the rows of one day of the log.

    Raises:
        InputError: If the held-out days leave none to train on.
    """
    days = config.days or (num_files if num_files > 1 or are_days else DEFAULT_DAYS)
    held_out = config.validation_days + config.test_days
    if held_out >= days:
        more = "give rows of more days" if are_days else "raise days"
        raise InputError(
            f"validation_days {config.validation_days} and test_days "
            f"{config.test_days} hold out {held_out} of {days} day"
            f"{'' if days == 1 else 's'}, expected less than all: lower them, or {more}"
        )
    return days


def split_rows(
    rows_per_file: Sequence[int], config: PrepareConfig, are_days: bool = False
) -> Split:
    """Cut rows into days, and hold out the last days for validation and test.

    In the facebook dialect the test rows come before the validation rows: the reference
    tests on the first half of the last day.

    Args:
        rows_per_file: Number of rows of each file, in order.
        config: Settings, of which `days`, `validation_days` and `test_days` are used.
            Where a fraction of a day cuts through a row, the earlier part gets it.
        are_days: Whether `rows_per_file` has the rows of each day of the log instead.

    Raises:
        InputError: If no row is left to train on.

    Example:

    >>> split_rows([15], PrepareConfig()).ranges()["validation"]
    range(13, 14)
    """
    days = num_days(len(rows_per_file), config, are_days)
    total = sum(rows_per_file)
    if are_days or (config.days is None and len(rows_per_file) > 1):
        rows_per_day = tuple(rows_per_file)
    else:
        size, remainder = divmod(total, days)
        rows_per_day = tuple(size + (day < remainder) for day in range(days))
    # Fractions, so that 0.1 + 0.9 is exactly the end of a day.
    validation_days = Fraction(str(config.validation_days))
    test_days = Fraction(str(config.test_days))
    order = config.traits.split_order
    last_days = test_days if order[-1] == "test" else validation_days
    train_end = days - validation_days - test_days
    ends = (
        _row_at(train_end, rows_per_day),
        _row_at(days - last_days, rows_per_day),
        total,
    )
    if ends[0] == 0:
        raise InputError(
            f"no row is left to train on: {total} rows in {days} days, of which "
            f"{float(days - train_end)} are held out; give more rows, or lower "
            "validation_days and test_days"
        )
    return Split(rows_per_day, ends, order, are_days)


def given_split(rows: Mapping[str, int]) -> Split:
    """Return the split of rows that lie in files of their split.

    Args:
        rows: Number of rows of each split; their order is that of `SPLITS`.

    Raises:
        InputError: If there is no row to train on.

    Example:

    >>> given_split({"train": 7, "test": 3}).ranges()["test"]
    range(7, 10)
    """
    if not rows.get("train"):
        raise InputError(
            "the files of train have no rows, expected some to train on: give others"
        )
    train, validation, test = accumulate(rows.get(name, 0) for name in SPLITS)
    return Split((), (train, validation, test), is_given=True)


def num_log_days(split: Split, num_inputs: int, config: PrepareConfig) -> int:
    """Return the number of days of a log, for the chain of data sets.

    Args:
        split: How its rows were cut.
        num_inputs: Number of raw files or folders with a day's log each.
        config: Settings, of which `days` is used.

    Returns:
        What `days` says, else the number of dates, else of inputs. A single input is
        one day's log, also if it is cut into seven parts.
    """
    if config.days is None and not split.are_days:
        return num_inputs
    return len(split.rows_per_day)


def _row_at(time: Fraction, rows_per_day: Sequence[int]) -> int:
    """Return the number of rows before `time`, which is in days from the start."""
    starts = [*accumulate(rows_per_day, initial=0)]
    day = math.floor(time)
    if day == len(rows_per_day):
        return starts[day]
    return starts[day] + math.ceil((time - day) * rows_per_day[day])
