"""The columns of raw rows, as a client sees them: names without an order."""

import re
from collections.abc import Iterable

RAW_SIGNATURE = "raw"
UNKNOWN_SIGNATURE = "raw_unknown"
"""Like `raw`, with the number of unknown values and of all values of each column."""

COUNTS = ("unknown", "values")
"""Its outputs next to the probability, each `(batch, categorical columns)`."""

COVERAGE_SIGNATURE = "coverage"
"""From the number of a column to its name and its usual share of unknown values."""


def in_order(names: Iterable[str]) -> list[str]:
    """Names in the order of a Criteo row: the integers, then the categories.

    Example:

    >>> in_order(["C10", "C2", "I1"])
    ['I1', 'C2', 'C10']
    """
    return sorted(names, key=_place)


def are_criteos(names: Iterable[str]) -> bool:
    """Whether these are names of Criteo's columns, whose order is known.

    Example:

    >>> are_criteos(["I1", "C10"]), are_criteos(["price", "C1"])
    (True, False)
    """
    return all(re.fullmatch(r"[IC]\d+", name) for name in names)


def _place(name: str) -> tuple[bool, list[tuple[int, str]]]:
    parts = re.findall(r"\d+|\D+", name)
    return name.startswith("C"), [
        (int(part), "") if part.isdigit() else (-1, part) for part in parts
    ]
