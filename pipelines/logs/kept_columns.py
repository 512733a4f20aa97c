"""Columns of a log that are not read but passed on, under names of their own."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from tfdlrm.base.errors import InputError
from tfdlrm.base.nearest import nearest

_PREFIX = "\0kept "


def kept_name(name: str) -> str:
    """Return the name under which a kept column is next to the typed ones."""
    return _PREFIX + name


def select_kept(frame: pl.DataFrame, names: Iterable[str]) -> list[pl.Series]:
    """Return the kept columns of typed rows, in the order of `names`."""
    return [frame[kept_name(name)].alias(name) for name in names]


def check_kept(names: Sequence[str], file_names: Sequence[str], path: Path) -> None:
    """Check that a file has the columns that are to be kept.

    Args:
        names: Names of these columns.
        file_names: Names of all columns.
        path: Path of the file, for the message.

    Raises:
        InputError: If a column is missing, or is there several times.
    """
    for name in names:
        number = file_names.count(name)
        if number == 1:
            continue
        problem = "several columns" if number else "no column"
        listed = ", ".join(map(repr, file_names[:20]))
        more = ", …" if len(file_names) > 20 else ""
        match = None if number else nearest(name, file_names)
        hint = "" if match is None else f"; did you mean {match!r}?"
        raise InputError(
            f"{path} has {problem} {name!r} to keep: it has {listed}{more}{hint}"
        )
