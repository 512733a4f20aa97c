"""Rows of a categorical column, whatever holds them, as bags of values."""

from collections import deque
from collections.abc import (
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Set,
    ValuesView,
)
from typing import Any

import numpy as np

Bag = list[Any]
"""The values of one row."""

_SCALARS = frozenset({str, bytes, int, bool})
_TEXTS = (str, bytes, bytearray, memoryview)
_BAGS = (Sequence, Set, ValuesView, deque, Iterator)


def named_columns(columns: Any) -> tuple[list[Any] | None, list[Any]]:
    """The columns of a frame or of a sequence, and their names where they have some.

    Args:
        columns: A DataFrame of pandas or Polars, a table of PyArrow, a structured
            array, a dictionary, or a sequence of columns.

    Returns:
        Names, `None` for a sequence, and columns.

    Raises:
        ValueError: If what comes is a single column, or has no order.

    Example:

    >>> named_columns({"country": ["de", "fr"]})
    (['country'], [['de', 'fr']])
    """
    if isinstance(columns, Mapping):
        return [*columns], [*columns.values()]
    if hasattr(columns, "get_columns"):  # Polars
        return [*columns.columns], columns.get_columns()
    if hasattr(columns, "column_names"):  # PyArrow
        return [*columns.column_names], [*columns.columns]
    if hasattr(columns, "iloc") and hasattr(columns, "columns"):  # pandas
        # By position, since two columns may have one name.
        places = range(len(columns.columns))
        return [*columns.columns], [columns.iloc[:, each] for each in places]
    if isinstance(columns, np.ndarray) and columns.dtype.names:
        return [*columns.dtype.names], [columns[each] for each in columns.dtype.names]
    if isinstance(columns, str | bytes | Set) or hasattr(columns, "shape"):
        # An array (rows, columns) would be taken for (columns, rows).
        raise ValueError(
            f"Got {_described(columns)}, expected a list of columns, a dictionary or a "
            "DataFrame: give [column] for one column, [*array.T] for an array of rows."
        )
    if not isinstance(columns, Iterable):
        raise ValueError(f"Got {_described(columns)}, expected a list of columns.")
    return None, list(columns)


def rows_of(column: Any, what: str) -> list[Any]:
    """The rows of one column, in order.

    Args:
        column: A list, array, Series, tensor or any other sequence.
        what: Which column it is, for messages.

    Raises:
        ValueError: If it is no sequence, or one without order.
    """
    values = _plain(column)
    if isinstance(values, list):
        return values
    is_other = isinstance(values, str | bytes | Set | Mapping) or hasattr(
        values, "iloc"
    )
    if is_other or not isinstance(values, Iterable):
        raise ValueError(
            f"{what} is {_described(column)}, expected a list or an array of its rows."
        )
    return list(values)


def bag_of(row: Any) -> Bag:
    """The values of one row: of a bag all, of a single value that one.

    Missing values (`None`, NaN, `pandas.NA`, NaT, masked ones) are left out. Those of a
    set come sorted, so that numbers given to them are the same in every process.

    Raises:
        ValueError: If the row is a dictionary.

    Example:

    >>> bag_of("ab"), bag_of({"b", "a"}), bag_of(float("nan"))
    (['ab'], ['a', 'b'], [])
    """
    if type(row) in _SCALARS:
        return [row]
    values: Any = _plain(row)
    if isinstance(values, Mapping):
        raise ValueError(f"{_described(row)}, expected a value or a list of values")
    if isinstance(values, Set):
        values = _in_order(values)
    is_bag = isinstance(values, _BAGS) and not isinstance(values, _TEXTS)
    if is_bag or _is_array(values):
        return [each for each in values if not _is_missing(each)]
    return [] if _is_missing(values) else [values]


def _plain(values: Any) -> Any:
    """An array, Series or scalar of another library as Python has it."""
    if isinstance(values, np.ndarray):
        if values.dtype.names:
            raise ValueError(f"{_described(values)}, expected an array of plain values")
        if values.dtype.kind not in "mM":  # of a time `tolist` would make a number
            return values.tolist()
        return list(values) if values.ndim else values[()]
    if isinstance(values, np.generic):
        return values
    for convert in ("to_pylist", "as_py", "tolist", "to_list"):
        if hasattr(values, convert):
            return getattr(values, convert)()
    if hasattr(values, "numpy") and hasattr(values, "shape"):  # tensors
        return _plain(np.asarray(values.numpy()))
    return values


def _is_array(values: Any) -> bool:
    """Whether it is an array of some library that has no other way out."""
    return hasattr(values, "__array__") and bool(getattr(values, "shape", ()))


def _in_order(values: Set[Any]) -> list[Any]:
    values_list = list(values)
    try:
        return sorted(values_list)
    except TypeError:
        return sorted(values_list, key=lambda each: (type(each).__name__, repr(each)))


def _is_missing(value: Any) -> bool:
    if type(value) in _SCALARS:
        return False
    if value is None or value is np.ma.masked or type(value).__name__ == "NAType":
        return True
    try:
        return bool(value != value)  # NaN and NaT equal nothing
    except ArithmeticError:  # a signalling NaN
        return True
    except (TypeError, ValueError):
        return False


def _described(value: Any) -> str:
    text = repr(value).replace("\n", " ")
    text = f"{text[:40]}…" if len(text) > 40 else text
    return f"{text} of type {type(value).__name__}"
