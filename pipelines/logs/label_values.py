"""The values of a label: which means 1, which means 0, and how often each occurs."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from pipelines.logs.bad_rows import quote_value
from pipelines.logs.columns import Columns
from pipelines.logs.missing_values import explain_missing
from pipelines.logs.value_texts import texts
from tfdlrm.base.errors import InputError

_TRUE, _FALSE = (
    ["1", "true", "True", "TRUE", "1.0"],
    ["0", "false", "False", "FALSE", "0.0"],
)

REST = ""
"""Stands for all values after the first `MAX_VALUES`; no label is empty."""

MAX_VALUES = 100
_MAX_SHOWN = 8


def label_texts(values: pl.Series, columns: Columns) -> pl.Series:
    """Return labels as text, in the description's spelling if it has one.

    Booleans of a typed file have no spelling of their own: they become `True` or
    `true`, whichever the description uses.
    """
    if values.dtype == pl.Boolean:
        return spell_as_described(texts(values), columns)
    text = texts(values)
    if not values.dtype.is_float():
        return text
    return text.zip_with(text.is_not_null(), values.cast(pl.String))


def spell_as_described(booleans: pl.Series, columns: Columns) -> pl.Series:
    """Return `true` and `false` in the description's upper or lower case."""
    spellings = [] if columns.positive is None else [columns.positive]
    spellings += list(columns.negative) if columns.negative != "others" else []
    spelling = {text.lower(): text for text in spellings}
    return booleans.replace(list(spelling), list(spelling.values()))


def read_labels(values: pl.Series, columns: Columns) -> pl.Series:
    """Return labels as 0 and 1; null where a value means neither."""
    text = label_texts(values, columns)
    if columns.positive is None:
        is_one, is_zero = text.is_in(_TRUE), text.is_in(_FALSE)
    else:
        is_one = text == columns.positive
        is_zero = text.is_not_null() & ~is_one
        if columns.negative and columns.negative != "others":
            is_zero = text.is_in(list(columns.negative))
    return is_one.cast(pl.UInt8).set(~(is_one | is_zero), None)


def expected_labels(columns: Columns) -> str:
    """Return in words which values a label may have."""
    if columns.positive is None:
        return (
            "0 or 1, or true or false (of other values label.positive and "
            "label.negative say which means what)"
        )
    if not columns.negative or columns.negative == "others":
        return "a value"
    return " or ".join(
        quote_value(value) for value in (columns.positive, *columns.negative)
    )


def count_labels(counts: Counter[str], text: pl.Series) -> None:
    """Add the labels of some rows to `counts`."""
    for value, count in zip(*_value_counts(text), strict=True):
        is_known = value in counts or len(counts) < MAX_VALUES
        counts[value if is_known else REST] += count


def _value_counts(text: pl.Series) -> tuple[list[str], list[int]]:
    counts = text.drop_nulls().alias("value").value_counts(sort=True, name="rows")
    counts = counts.sort("rows", "value", descending=[True, False])
    return counts["value"].to_list(), counts["rows"].to_list()


def require_described(counts: Mapping[str, int], columns: Columns, where: str) -> None:
    """Refuse a label that has more than two values if nothing says which mean 0.

    Args:
        counts: Number of rows with each value.
        columns: The columns of the log.
        where: Name of the file or the files, for the message.

    Raises:
        InputError: If `label.positive` leaves several other values open.
    """
    if columns.positive is None or columns.negative or len(counts) <= 2:
        return
    hint = max((explain_missing(value) for value in counts), default="")
    raise InputError(
        f"{where}: column {columns.label!r} has more than two values: "
        f"{_in_words(counts)}; label.positive is {columns.positive!r}, and nothing "
        "says that all others mean 0: list those that do as label.negative in the "
        "columns file (other rows are bad then), or say `negative: others` there"
        f"{hint}"
    )


def with_negatives(columns: Columns, counts: Mapping[str, int]) -> Columns:
    """Return `columns` with the value that means 0, from `counts` if undescribed."""
    if columns.positive is None or columns.negative:
        return columns
    return replace(
        columns,
        negative=tuple(sorted(value for value in counts if value != columns.positive)),
    )


def describe_labels(counts: Mapping[str, int], columns: Columns) -> str:
    """Return in words how many rows have each value of the label.

    Example:

    >>> columns = Columns("bought", ("price",), (), positive="yes")
    >>> describe_labels({"no": 1200, "yes": 30}, columns)
    "label bought: 'no' in 1,200 rows, 'yes' (means 1) in 30 rows"
    """
    positive = columns.positive
    words = _in_words(counts, positive)
    if positive is not None and positive not in counts:
        words += f", {quote_value(positive)} (means 1) in no row"
    return f"label {columns.label}: {words}"


def _in_words(counts: Mapping[str, int], positive: str | None = None) -> str:
    num_other_rows = counts.get(REST, 0)
    in_order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    values = [(value, rows) for value, rows in in_order if value != REST]
    words = [
        f"{quote_value(value)}{' (means 1)' if value == positive else ''} "
        f"in {_rows(rows)}"
        for value, rows in values[:_MAX_SHOWN]
    ]
    num_other_rows += sum(rows for _, rows in values[_MAX_SHOWN:])
    return ", ".join(
        [*words, f"other values in {_rows(num_other_rows)}"]
        if num_other_rows
        else words
    )


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
