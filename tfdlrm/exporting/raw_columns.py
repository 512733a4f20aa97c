"""Columns of raw rows as a client sees them: names without an order."""

import re
from collections.abc import Iterable

RAW_SIGNATURE = "raw"
UNKNOWN_SIGNATURE = "raw_unknown"
"""Like `raw`; also returns the number of unknown and of all values of each column."""

COUNTS = ("unknown", "values")
"""The outputs of `raw_unknown` next to the probability, each `(batch, categorical
columns)`."""

COVERAGE_SIGNATURE = "coverage"
"""Takes numbers of columns; returns their names and usual shares of unknown values."""


def in_order(names: Iterable[str]) -> list[str]:
    """Sort names into the order of a Criteo row: integers, then categories.

    Example:

    >>> in_order(["C10", "C2", "I1"])
    ['I1', 'C2', 'C10']
    """
    return sorted(names, key=_sort_key)


def are_criteos(names: Iterable[str]) -> bool:
    """Return whether all names are those of Criteo's columns, whose order is known.

    Example:

    >>> are_criteos(["I1", "C10"]), are_criteos(["price", "C1"])
    (True, False)
    """
    return all(re.fullmatch(r"[IC]\d+", name) for name in names)


def _sort_key(name: str) -> tuple[bool, list[tuple[int, str]]]:
    parts = re.findall(r"\d+|\D+", name)
    return name.startswith("C"), [
        (int(part), "") if part.isdigit() else (-1, part) for part in parts
    ]
