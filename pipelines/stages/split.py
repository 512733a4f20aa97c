"""Which rows are for training, validation and test: by time, that is file order."""

import math
from collections.abc import Sequence
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
    """Where the rows of all files, in order, are cut.

    Args:
        rows_per_day: Number of rows in each part.
        ends: Where each split ends, as row numbers.
        order: The splits in the order of their rows.
    """

    rows_per_day: tuple[int, ...]
    ends: tuple[int, int, int]
    order: tuple[str, ...] = SPLITS

    def ranges(self) -> dict[str, range]:
        """The row numbers of each split, in the order of their rows."""
        starts = (0, *self.ends[:-1])
        return {
            name: range(start, end)
            for name, start, end in zip(self.order, starts, self.ends, strict=True)
        }

    def description(self, config: PrepareConfig) -> dict[str, Any]:
        """How rows were divided, for the schema."""
        return {
            "days": len(self.rows_per_day),
            "validation_days": config.validation_days,
            "test_days": config.test_days,
            "rows_per_day": list(self.rows_per_day),
            "rows": {name: len(rows) for name, rows in self.ranges().items()},
        }


def num_days(num_files: int, config: PrepareConfig, are_days: bool = False) -> int:
    """Number of parts that rows are cut into.

    Args:
        num_files: Number of files.
        config: Its `days`, `validation_days` and `test_days` count.
        are_days: Whether a "file" is the rows of a day, which is cut into no more.

    Raises:
        InputError: If held-out parts would leave none to train on.
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
    """Cut rows into days, and the last days off for validation and test.

    In the facebook dialect the test rows come before those for validation: of the last
    day the reference tests on the first half.

    Args:
        rows_per_file: Number of rows of each file, in order.
        config: Its `days`, `validation_days` and `test_days` count; a fraction of a
            day that does not come out even gives the row more to its earlier part.
        are_days: Whether these are the rows of each day that the log has, rather than
            those of each file.

    Returns:
        The cuts.

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
    # Fractions, since 0.1 + 0.9 should reach the end of a day exactly.
    validation_days = Fraction(str(config.validation_days))
    test_days = Fraction(str(config.test_days))
    is_facebook = config.dialect == "facebook"
    last = days - (validation_days if is_facebook else test_days)
    train_end = days - validation_days - test_days
    ends = (_row_at(train_end, rows_per_day), _row_at(last, rows_per_day), total)
    if ends[0] == 0:
        raise InputError(
            f"no row is left to train on: {total} rows in {days} days, of which "
            f"{float(days - train_end)} are held out; give more rows, or lower "
            "validation_days and test_days"
        )
    order = ("train", "test", "validation") if is_facebook else SPLITS
    return Split(rows_per_day, ends, order)


def _row_at(time: Fraction, rows_per_day: Sequence[int]) -> int:
    """Number of rows before `time`, in days from the start."""
    starts = [*accumulate(rows_per_day, initial=0)]
    day = math.floor(time)
    if day == len(rows_per_day):
        return starts[day]
    return starts[day] + math.ceil((time - day) * rows_per_day[day])
