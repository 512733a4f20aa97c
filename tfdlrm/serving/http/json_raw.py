"""Values of raw columns as JSON has them, written as the text that preparing reads.

Loads no TensorFlow: large requests are read in a process that has none.
"""

import json
import math
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np

from tfdlrm.serving.data_types import text_array
from tfdlrm.serving.errors import refuse
from tfdlrm.serving.http.json_values import MOST_SHOWN, describe, encode, is_base64
from tfdlrm.serving.raw_column import Content, RawColumn
from tfdlrm.serving.tensors import MAX_FILLED

_EXACT = 2.0**53
"""Floats from here on skip integers."""

_EXPECTED: dict[Content, str] = {
    "number": "a finite number, or null where it is missing",
    "integer": "a whole number of 64 bits, or null where it is missing",
    "category": "text, a number or null",
    "hash": 'a hash as text such as "68fd1e64", or null where it is missing',
}


class _BadValueError(Exception):
    """A value that the column cannot hold; the message is what was expected."""


def raw_array(name: str, values: Any, column: RawColumn) -> np.ndarray:
    """Return the values of a column, one of each row, as an array of text.

    Args:
        name: Name of the column, for messages.
        values: What JSON has.
        column: What the column holds.

    Raises:
        ServingError: If a value is none of the column's; the message names the row.
    """
    if type(values) is not list:
        refuse(
            f"input {name} is {describe(values)}, expected a list with a value of each "
            "row"
        )
    if set(map(type, values)) == {str} and not column.is_listed:
        return text_array(list(map(str.encode, values)))
    if column.is_bag:
        return _bags(name, values, column)
    return text_array(
        [_in_row(name, row, value, column, _text) for row, value in enumerate(values)]
    )


def example_texts(
    name: str, row: int, values: list[Any], column: RawColumn
) -> list[bytes]:
    """Return the values of a column in a row as texts, without missing ones.

    Raises:
        ServingError: If a value is none of the column's.
    """
    texts: list[bytes] = _in_row(name, row, values, column, _items)
    return texts


def _bags(name: str, values: list[Any], column: RawColumn) -> np.ndarray:
    if column.is_listed and _are_texts_of_one_width(values):
        texts = text_array(list(map(str.encode, chain.from_iterable(values))))
        return texts.reshape(len(values), len(values[0]))
    convert = _items if column.is_listed else _joined
    bags = [
        _in_row(name, row, value, column, convert) for row, value in enumerate(values)
    ]
    if not column.is_listed:
        return text_array(bags)
    width = max(map(len, bags), default=0)
    num_values = sum(map(len, bags))
    if width * len(bags) > max(MAX_FILLED, 4 * num_values):
        refuse(
            f"input {name} has {len(bags)} rows, the longest of {width} values: "
            "expected longer lists in a request of their own"
        )
    # The model leaves out empty texts.
    padded = [text for bag in bags for text in (*bag, *[b""] * (width - len(bag)))]
    return text_array(padded).reshape(len(bags), width)


def _are_texts_of_one_width(values: list[Any]) -> bool:
    return (
        set(map(type, values)) == {list}
        and len(set(map(len, values))) == 1
        and set(map(type, chain.from_iterable(values))) == {str}
    )


def _in_row(
    name: str,
    row: int,
    value: Any,
    column: RawColumn,
    convert: Callable[[Any, RawColumn], Any],
) -> Any:
    try:
        return convert(value, column)
    except _BadValueError as error:
        refuse(f"input {name} of row {row} is {_shown(value)}, expected {error}")


def _shown(value: Any) -> str:
    if type(value) is str:
        return f"`{value[:MOST_SHOWN]}`"
    if type(value) is bool:
        return str(value).lower()
    if type(value) is list and not any(type(item) in (list, dict) for item in value):
        return json.dumps(value, ensure_ascii=False)[:MOST_SHOWN]
    return describe(value)


def _items(value: Any, column: RawColumn) -> list[bytes]:
    """Return the values of a bag; one that is no list is its only value."""
    items = value if type(value) is list else [value]
    for item in items:
        if type(item) is list:
            raise _BadValueError("a list of text, numbers and null without lists in it")
    return [text for text in (_text(item, column) for item in items) if text]


def _joined(value: Any, column: RawColumn) -> bytes:
    """Return a bag as one text; text that is no list may have separators in it."""
    if type(value) is str or is_base64(value):
        return encode(value)
    items = _items(value, column)
    separator = (column.separator or "").encode()
    for item in items:
        if separator in item:
            shown = item.decode(errors="replace")[:MOST_SHOWN]
            raise _BadValueError(
                f"values without `{column.separator}` in them, which separates the "
                f"values of this column: `{shown}` would be read as several"
            )
    return separator.join(items)


def _text(value: Any, column: RawColumn) -> bytes:
    """Return a value as the text that preparing reads; blank if it is missing."""
    if type(value) is str or is_base64(value):
        return encode(value)
    if value is None:
        return b""
    if type(value) is bool:
        return _boolean(value, column)
    if type(value) is int:
        return _integer(value, column)
    if type(value) is float:
        return _float(value, column)
    raise _unlike(column)


def _boolean(value: bool, column: RawColumn) -> bytes:
    if column.booleans is not None:
        return column.booleans[value].encode()
    if column.content == "category":
        spellings = f'"{_shown(value)}" or "{value}"'
        raise _BadValueError(f"text as the log has it, such as {spellings}")
    raise _unlike(column)


def _integer(value: int, column: RawColumn) -> bytes:
    if column.content == "hash":
        # Digits alone might be the hash or its value.
        raise _unlike(column)
    if column.content == "integer" and not -(2**63) <= value < 2**63:
        raise _unlike(column)
    return str(value).encode()


def _float(value: float, column: RawColumn) -> bytes:
    content = column.content
    if math.isnan(value) and column.is_typed:
        return b""
    if content == "hash" or not math.isfinite(value):
        raise _unlike(column)
    if content == "number":
        return repr(value).encode()
    is_whole = value == int(value)
    if content == "integer":
        if not is_whole:
            raise _unlike(column)
        return _integer(int(value), column)
    return _category(value, is_whole, column)


def _category(value: float, is_whole: bool, column: RawColumn) -> bytes:
    """Return a float as text where there is one way to write it."""
    text = repr(value)
    if is_whole and abs(value) >= _EXACT:
        raise _BadValueError(
            "text: beyond 2^53 a number with a fraction or exponent, or of more than "
            "64 bits, is not exact; write it in quotes"
        )
    if is_whole and column.joins_floats:
        return str(int(value)).encode()
    if column.is_typed:
        raise _BadValueError("text, a whole number or null")
    if "e" in text:
        raise _BadValueError(
            "text: there are several ways to write this number; write it in quotes as "
            "the log has it"
        )
    return text.encode()


def _unlike(column: RawColumn) -> _BadValueError:
    return _BadValueError(_EXPECTED[column.content])
