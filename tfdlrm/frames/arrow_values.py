"""The values of one column as an Arrow array, as Parquet would hold them."""

from datetime import datetime
from typing import Any, NoReturn

import numpy as np
import polars as pl
import pyarrow as pa

from tfdlrm.base.errors import InputError
from tfdlrm.base.plain_text import shorten

_NUMPY_UNITS = ("D", "s", "ms", "us", "ns")
"""The units of NumPy's times that Arrow has."""


def arrow_values(column: Any, name: str) -> pa.Array:
    """Return a column as Arrow has it; missing values of every sort are null.

    Args:
        column: A list, array, tensor, Series or Arrow array.
        name: Its name, for messages.

    Raises:
        InputError: If its values have no common type, or none that Parquet has.
    """
    try:
        array = _convert(column, name)
    except (pa.ArrowException, OverflowError, UnicodeError, TypeError) as error:
        _refuse_values(column, name, error)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
        if isinstance(array, pa.ChunkedArray):  # of types that Arrow cannot join
            array = pa.concat_arrays(array.chunks)
    if isinstance(array.type, pa.BaseExtensionType):
        raise _bad_type(name, array.type)
    return array


def _convert(column: Any, name: str) -> Any:
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return column
    if isinstance(column, pl.Series):
        if isinstance(column.dtype, pl.Object | pl.Int128):
            return _of_list(column.to_list())
        return column.to_arrow()
    if hasattr(column, "row_splits"):  # a ragged tensor
        return _of_ragged(column, name)
    if hasattr(column, "iloc"):  # a Series of pandas
        return _of_pandas(column, name)
    if hasattr(column, "array") and hasattr(column, "to_series"):  # its Index
        return _of_pandas(column.to_series(), name)
    if not isinstance(column, np.ndarray) and hasattr(column, "__array__"):
        column = np.asarray(column)  # a tensor
    if isinstance(column, np.ndarray):
        return _of_numpy(column, name)
    return _of_list(list(column))


def _of_list(values: list[Any]) -> Any:
    try:
        array = pa.array(values, from_pandas=True)
        if pa.types.is_date(array.type) and any(map(_is_time, values)):
            raise pa.ArrowInvalid("dates and times")  # Arrow would cut the times
        return array
    except pa.ArrowException:
        # An empty array of NumPy has a type, and perhaps another than the full ones.
        if not any(isinstance(value, np.ndarray) for value in values):
            raise
        lists = [
            value.tolist() if isinstance(value, np.ndarray) else value
            for value in values
        ]
        return pa.array(lists, from_pandas=True)


def _is_time(value: Any) -> bool:
    return isinstance(value, datetime) and not _is_missing(value)


def _of_pandas(series: Any, name: str) -> Any:
    _require_one_value_a_row(series, name)
    dtype = series.dtype
    if hasattr(dtype, "fill_value"):  # sparse
        series = series.sparse.to_dense()
    if dtype.kind == "O" and isinstance(dtype, np.dtype):
        return _of_list(series.tolist())
    if isinstance(dtype, np.dtype):
        return _of_numpy(series.to_numpy(), name)
    return pa.array(series, from_pandas=True)


def _require_one_value_a_row(values: Any, name: str) -> None:
    if values.ndim != 1:
        raise InputError(
            f"column {name!r} has the shape {values.shape}, expected one value a row: "
            "give each of its columns a name, or a list of lists for a column with any "
            "number of values a row"
        )


def _of_numpy(values: np.ndarray, name: str) -> Any:
    _require_one_value_a_row(values, name)
    if values.dtype.kind == "c":
        raise InputError(
            f"column {name!r} is of type {values.dtype}. Complex data not supported: "
            "give its real and imaginary part as two columns"
        )
    if values.dtype == object and not isinstance(values, np.ma.MaskedArray):
        return _of_list(values.tolist())
    if values.dtype == np.longdouble:
        values = values.astype(np.float64)
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    if values.dtype.kind == "M" and np.datetime_data(values.dtype) not in [
        (unit, 1) for unit in _NUMPY_UNITS
    ]:
        values = values.astype("datetime64[s]")
    return pa.array(values, from_pandas=True)


def _of_ragged(column: Any, name: str) -> Any:
    if column.ragged_rank != 1:
        raise InputError(
            f"column {name!r} has lists in lists, expected one list of values a row"
        )
    values = arrow_values(column.values, name)
    return pa.ListArray.from_arrays(
        pa.array(np.asarray(column.row_splits).astype(np.int32)), values
    )


def _bad_type(name: str, dtype: Any) -> InputError:
    return InputError(
        f"column {name!r} is of type {dtype}, expected numbers, text, booleans, dates, "
        "times, or lists of them: convert it, for example by "
        f"frame[{name!r}].astype(str), or drop it"
    )


def _refuse_values(column: Any, name: str, error: Exception) -> NoReturn:
    """Raise the error of a column whose values Arrow does not take together."""
    first: dict[str, tuple[int, Any]] = {}
    values = column.tolist() if hasattr(column, "tolist") else column
    try:
        for row, value in enumerate(values):
            if not _is_missing(value):
                first.setdefault(_sort_of(value), (row, value))
    except TypeError:
        pass
    if len(first) > 1:
        (one, (row, value)), (other, (other_row, other_value)) = [*first.items()][:2]
        raise InputError(
            f"column {name!r} has {_show(value)} of type {one} in row {row} and "
            f"{_show(other_value)} of type {other} in row {other_row} (rows count from "
            "0), expected values of one type: convert it, for example by "
            f"frame[{name!r}].astype(str)"
        ) from None
    reason = " ".join(str(error).split())
    dtype = getattr(column, "dtype", None)
    of_type = f" of type {dtype}" if dtype is not None else ""
    raise InputError(
        f"column {name!r}{of_type} cannot be used ({reason}), expected numbers of at "
        "most 64 bits, text in UTF-8, booleans, dates, times, or lists of them: "
        "convert it or drop it"
    ) from None


def _sort_of(value: Any) -> str:
    """Return the name of a value's type, one for all lists."""
    is_list = isinstance(value, list | tuple | set | frozenset | np.ndarray)
    return "list" if is_list else type(value).__name__


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


def _show(value: Any) -> str:
    return shorten(repr(value), 40)
