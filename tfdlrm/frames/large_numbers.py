"""Warn of numbers that a description takes as they are, and that are too large."""

import warnings
from typing import Any

import polars as pl

from pipelines.logs.columns import Columns
from tfdlrm.base.plain_text import visible

_LARGE = 10
"""Numbers beyond it, taken as they are, drown those of other columns."""


def warn_of_large_numbers(
    rows: pl.DataFrame, columns: Columns, stacklevel: int
) -> None:
    """Warn of columns with the transform `none` that have large numbers.

    Args:
        rows: Typed rows of training.
        columns: Their columns.
        stacklevel: Calls from here to that of the user.
    """
    for name in columns.untransformed:
        largest: Any = rows[name].abs().max()
        if largest is not None and float(largest) > _LARGE:
            warnings.warn(
                f"{visible(name)}: has numbers up to {largest:,.6g} in size, taken as "
                "they are; other columns are learned worse next to such numbers: give "
                "it the transform standardize, or divide them",
                stacklevel=stacklevel + 1,
            )
