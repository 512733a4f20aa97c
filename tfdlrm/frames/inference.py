"""Decide by the types of a frame's columns what each of them is to a model."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
import pyarrow as pa

from pipelines.logs.parquet_values import as_frame
from pipelines.logs.value_texts import whole_number_texts
from tfdlrm.base.errors import InputError

Role = Literal["dense", "categorical", "multi-hot"]

_ID_WORDS = {"id", "ids", "uid", "uuid", "key", "code", "zip"}
"""Last words of the names of integers that stand for something, such as `user_id`."""


@dataclass(frozen=True)
class InferredColumn:
    """What a column is taken for, and why.

    Args:
        name: Its name.
        role: What it is to a model.
        reason: The reason, in words.
        is_standardized: Whether a dense column has negative values, which have no
            logarithm.
    """

    name: str
    role: Role
    reason: str
    is_standardized: bool = False


def infer(table: Mapping[str, pa.Array]) -> list[InferredColumn]:
    """Return what each column of a frame is taken for, by its type.

    Floats, decimals and integers are dense: their logarithm, or standardized if one is
    negative.
    Integers whose names end in a word such as `id` or `code` are categorical, as are
    text, booleans, dates, and categories of whatever values; lists are multi-hot.

    Args:
        table: The columns except the label.

    Raises:
        InputError: If the type of a column says nothing of its use, as that of a time.

    Example:

    >>> infer({"user_id": pa.array([7, 8]), "age": pa.array([41, 32])})[0].role
    'categorical'
    """
    return [_infer_column(name, values) for name, values in table.items()]


def describe_columns(inferred: list[InferredColumn]) -> dict[str, Any]:
    """Return the description of the columns with the keys of `columns.yaml`."""
    entries: dict[Role, list[Any]] = {"dense": [], "categorical": [], "multi-hot": []}
    for column in inferred:
        entry: Any = column.name
        if column.role == "multi-hot":
            entry = {"name": column.name, "multi_hot": True}
        elif column.is_standardized:
            entry = {"name": column.name, "transform": "standardize"}
        entries[column.role].append(entry)
    categorical = entries["categorical"] + entries["multi-hot"]
    return {"dense": entries["dense"], "categorical": categorical}


def _infer_column(name: str, values: pa.Array) -> InferredColumn:
    try:
        (dtype,) = as_frame(pa.table({"values": values.slice(0, 0)})).dtypes
    except (pl.exceptions.PolarsError, pa.ArrowException):
        raise _unusable(name, values.type) from None
    if pa.types.is_decimal(values.type):
        return _infer_number(name, "decimals", _numbers(values))
    if pa.types.is_dictionary(values.type):
        noun = _noun(name, dtype)
        words = noun if noun == "text" else f"categories of {noun}"
        return InferredColumn(name, "categorical", words)
    if isinstance(dtype, pl.List):
        return InferredColumn(name, "multi-hot", f"lists of {_noun(name, dtype.inner)}")
    if isinstance(dtype, pl.Null):
        return InferredColumn(name, "categorical", "no values")
    noun = _noun(name, dtype)
    if not dtype.is_numeric():
        return InferredColumn(name, "categorical", noun)
    numbers = _numbers(values)
    if _is_id(name) and _are_whole(numbers):
        return InferredColumn(name, "categorical", f"{noun}, by its name an id")
    return _infer_number(name, noun, numbers)


def _infer_number(name: str, noun: str, numbers: pl.Series) -> InferredColumn:
    if (numbers < 0).any():
        reason = f"{noun}, standardized since some are negative"
        return InferredColumn(name, "dense", reason, is_standardized=True)
    return InferredColumn(name, "dense", f"{noun}, log(x + 1)")


def _numbers(values: pa.Array) -> pl.Series:
    numbers = as_frame(pa.table({"values": values}))["values"]
    return numbers if numbers.dtype.is_numeric() else numbers.cast(pl.Float64)


def _noun(name: str, dtype: Any) -> str:
    """Return what values of a type are called."""
    if dtype.is_integer():
        return "integers"
    if dtype.is_float():
        return "floats"
    for noun, types in (
        ("decimals", pl.Decimal),  # in lists
        ("text", (pl.String, pl.Binary, pl.Categorical, pl.Enum)),
        ("booleans", pl.Boolean),
        ("dates", pl.Date),
        ("missing values", pl.Null),
    ):
        if isinstance(dtype, types):
            return noun
    raise _unusable(name, dtype)


def _unusable(name: str, dtype: Any) -> InputError:
    if isinstance(dtype, pl.Datetime | pl.Time):
        fix = (
            f"a time is no feature by itself: derive some, such as its hour, and drop "
            f"{name!r}, or name the features in columns and the time in its split"
        )
    else:
        fix = "convert it, drop it, or leave it out by naming the features in columns"
    return InputError(
        f"column {name!r} is of type {dtype}, expected numbers, text, booleans, dates "
        f"or lists of them: {fix}"
    )


def _is_id(name: str) -> bool:
    """Return whether a name says that its integers stand for something.

    Example:

    >>> [_is_id(name) for name in ("user_id", "itemId", "ID", "paid", "age")]
    [True, True, True, False, False]
    """
    words = re.findall("[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return bool(words) and words[-1].lower() in _ID_WORDS


def _are_whole(numbers: pl.Series) -> bool:
    """Return whether numbers are integers, or are integers that became floats."""
    if not numbers.dtype.is_float():
        return bool(numbers.dtype.is_integer())
    return whole_number_texts(numbers).null_count() == numbers.null_count()
