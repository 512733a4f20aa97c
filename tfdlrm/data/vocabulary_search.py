"""Search in the vocabulary of a column, which may have millions of values."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tfdlrm.data.vocabulary_files import query, value_text

MOST_VALUES = 50
"""Values that a search returns at most."""

MOST_CHARACTERS = 200
"""Characters of the text that is searched for."""

_HEX_DIGITS = 8


@dataclass(frozen=True)
class Match:
    """A value that a search returns.

    Args:
        value: The value as it is in a log.
        occurrences: How often it occurred in the rows that the vocabulary is of.
    """

    value: str
    occurrences: int


def search_vocabulary(
    directory: Path, name: str, text: str, most: int = MOST_VALUES
) -> list[Match]:
    """Return the values of a column that contain a text.

    Upper and lower case are equal. Values that begin with the text come first, and
    among those the most frequent; Criteo's hexadecimal numbers must begin with it.

    Args:
        directory: The directory that holds `vocabulary/`.
        name: The column.
        text: The text; of an empty one the most frequent values are returned.
        most: Number of values to return at most.

    Raises:
        InputError: If the vocabulary is missing or damaged.
    """

    def select(values: pl.LazyFrame) -> pl.LazyFrame:
        value = pl.col("value")
        starts = pl.lit(True)
        if values.collect_schema()["value"] != pl.String:
            first, last = _range_of(text)
            values = values.filter(value.is_between(first, last))
        elif text:
            pattern = f"(?i){pl.escape_regex(text)}"
            values = values.filter(value.str.contains(pattern))
            starts = value.str.contains(f"^{pattern}")
        ranked = values.with_columns(starts=starts)
        order = ["starts", "frequency", "id"]
        return ranked.top_k(most, by=order, reverse=[False, False, True])

    rows = query(directory, name, select)
    rows.sort(key=lambda row: (not row["starts"], -row["frequency"], row["id"]))
    return [Match(value_text(row["value"]), row["frequency"]) for row in rows]


def _range_of(text: str) -> tuple[int, int]:
    """Return the first and the last of the 32-bit numbers that begin with hex digits.

    Example:

    >>> [f"{number:08x}" for number in _range_of("5B")]
    ['5b000000', '5bffffff']
    >>> _range_of("0x5")
    (1, 0)
    """
    missing = _HEX_DIGITS - len(text)
    if missing < 0 or not all(letter in "0123456789abcdefABCDEF" for letter in text):
        return 1, 0
    return int(text + "0" * missing, 16), int(text + "f" * missing, 16)
