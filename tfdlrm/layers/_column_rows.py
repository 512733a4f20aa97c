"""Read the rows of a categorical column, of whatever type, as bags of values."""

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


def names_and_columns(columns: Any) -> tuple[list[Any] | None, list[Any]]:
    """Return the names and the columns of a frame, a mapping or a sequence.

    Args:
        columns: A DataFrame of pandas or Polars, a table of PyArrow, a structured
            array, a dictionary, or a sequence of columns.

    Returns:
        Names, or `None` for a sequence, which has none; and columns.

    Raises:
        ValueError: If `columns` is a single column, or has no order.

    Example:

    >>> names_and_columns({"country": ["de", "fr"]})
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
        positions = range(len(columns.columns))
        return [*columns.columns], [columns.iloc[:, index] for index in positions]
    if isinstance(columns, np.ndarray) and columns.dtype.names:
        return [*columns.dtype.names], [columns[name] for name in columns.dtype.names]
    if isinstance(columns, str | bytes | Set) or hasattr(columns, "shape"):
        # An array (rows, columns) would be read as (columns, rows).
        raise ValueError(
            f"Got {_describe(columns)}, expected a list of columns, a dictionary or a "
            "DataFrame: give [column] for one column, [*array.T] for an array of rows."
        )
    if not isinstance(columns, Iterable):
        raise ValueError(f"Got {_describe(columns)}, expected a list of columns.")
    return None, list(columns)


def rows_of(column: Any, title: str) -> list[Any]:
    """Return the rows of one column, in order.

    Args:
        column: A list, array, Series, tensor or any other sequence.
        title: Title of the column, for messages.

    Raises:
        ValueError: If the column is no sequence, or has no order.
    """
    values = _to_python(column)
    if isinstance(values, list):
        return values
    is_no_column = isinstance(values, str | bytes | Set | Mapping) or hasattr(
        values, "iloc"
    )
    if is_no_column or not isinstance(values, Iterable):
        raise ValueError(
            f"{title} is {_describe(column)}, expected a list or an array of its rows."
        )
    return list(values)


def bag_of(row: Any) -> Bag:
    """Return the values of one row, which is a bag or a single value.

    Missing values (`None`, NaN, `pandas.NA`, NaT, masked ones) are left out. The values
    of a set come sorted, so that their ids are the same in every process.

    Raises:
        ValueError: If the row is a dictionary.

    Example:

    >>> bag_of("ab"), bag_of({"b", "a"}), bag_of(float("nan"))
    (['ab'], ['a', 'b'], [])
    """
    if type(row) in _SCALARS:
        return [row]
    values: Any = _to_python(row)
    if isinstance(values, Mapping):
        raise ValueError(f"{_describe(row)}, expected a value or a list of values")
    if isinstance(values, Set):
        values = _sort(values)
    is_bag = isinstance(values, _BAGS) and not isinstance(values, _TEXTS)
    if is_bag or _is_array(values):
        return [value for value in values if not _is_missing(value)]
    return [] if _is_missing(values) else [values]


def _to_python(values: Any) -> Any:
    """Convert an array, Series or scalar of another library to Python's own types."""
    if isinstance(values, np.ndarray):
        if values.dtype.names:
            raise ValueError(f"{_describe(values)}, expected an array of plain values")
        if values.dtype.kind not in "mM":  # `tolist` would turn times into numbers
            return values.tolist()
        return list(values) if values.ndim else values[()]
    if isinstance(values, np.generic):
        return values
    for convert in ("to_pylist", "as_py", "tolist", "to_list"):
        if hasattr(values, convert):
            return getattr(values, convert)()
    if hasattr(values, "numpy") and hasattr(values, "shape"):  # tensors
        return _to_python(np.asarray(values.numpy()))
    return values


def _is_array(values: Any) -> bool:
    """Return whether this is an array, of a library without a `tolist`."""
    return hasattr(values, "__array__") and bool(getattr(values, "shape", ()))


def _sort(values: Set[Any]) -> list[Any]:
    values_list = list(values)
    try:
        return sorted(values_list)
    except TypeError:
        return sorted(
            values_list, key=lambda value: (type(value).__name__, repr(value))
        )


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


def _describe(value: Any) -> str:
    text = repr(value).replace("\n", " ")
    text = f"{text[:40]}…" if len(text) > 40 else text
    return f"{text} of type {type(value).__name__}"
