"""Read rows that are JSON objects, one a message of a stream, as typed data frames."""

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from pipelines.logs import criteo
from pipelines.logs.bad_rows import quote_value
from pipelines.logs.columns import Columns
from pipelines.logs.label_values import spell_as_described
from pipelines.logs.values import TIME_KEY, ColumnReader, column_readers


class JsonRows:
    """Read JSON objects whose keys are the names of raw columns.

    A value is missing where an object lacks the column or has null for it; keys that
    are no columns are ignored. Values are the same as in a log in text: Criteo's
    categories as hexadecimal text, numbers as numbers or text, several values as a list
    or as text with separators.

    Args:
        columns: The columns to read.

    Example:

    >>> rows = JsonRows(Columns.criteo())
    >>> frame, bad = rows.read([b'{"label": 1, "I1": 3, "C1": "0a"}', b'{"I1": 3}'])
    >>> frame["label"].to_list(), frame["I1"].to_list(), frame["C1"].to_list()
    ([1], [3], [10])
    >>> bad
    {1: "'label' is missing, expected 0 or 1"}
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._separators = dict(zip(columns.multi_hot, columns.separators, strict=True))
        if columns.is_criteo:
            self._readers = _criteo_readers()
        else:
            readers = column_readers(columns, labelled=True)
            readers.pop(TIME_KEY, None)
            self._readers = {name: reader for name, (_, reader) in readers.items()}

    def read(self, messages: Sequence[bytes]) -> tuple[pl.DataFrame, dict[int, str]]:
        """Return the good rows, and the problem of each bad message by its number."""
        problems: dict[int, str] = {}
        objects = [_parse(message) for message in messages]
        for number, json_object in enumerate(objects):
            if json_object is None:
                problems[number] = f"it begins with {messages[number][:20]!r}"
        rows = [json_object or {} for json_object in objects]
        typed: dict[str, pl.Series] = {}
        for name, reader in self._readers.items():
            raw_values = [row.get(name) for row in rows]
            if name in self._separators:
                # Before texts are split, since a spelling may have the separator in it.
                raw_values = [
                    None if _spells_missing(value, reader) else value
                    for value in raw_values
                ]
            else:
                _take_out_lists(name, raw_values, problems)
            values = _column(raw_values, self._separators.get(name))
            if name == self._columns.label:
                values = self._spell_labels(raw_values, values)
            typed[name], is_bad = reader.convert(values)
            for row in is_bad.arg_true():
                problems.setdefault(row, reader.problem(name, rows[row].get(name)))
        frame = pl.DataFrame(typed)
        if problems:
            good_rows = [
                number for number in range(len(rows)) if number not in problems
            ]
            frame = frame[good_rows]
        return frame, problems

    def _spell_labels(self, raw_values: list[Any], values: pl.Series) -> pl.Series:
        """Return labels as text, booleans in the case that the description writes."""
        is_boolean = pl.Series(
            [isinstance(value, bool) for value in raw_values], dtype=pl.Boolean
        )
        if not is_boolean.any():
            return values
        return spell_as_described(values, self._columns).zip_with(is_boolean, values)


def is_object(message: bytes) -> bool:
    """Return whether a message is a JSON object, with or without leading blanks."""
    # Most other messages need not be parsed.
    return message.lstrip().startswith(b"{") and _parse(message) is not None


def _parse(message: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(message)
        if rb"\u" in message:
            # Half a surrogate pair cannot be encoded.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _take_out_lists(name: str, raw_values: list[Any], problems: dict[int, str]) -> None:
    """Replace lists in a column of single values by null, and note the problem."""
    for row, value in enumerate(raw_values):
        if isinstance(value, list | dict):
            problem = f"{name!r} is {quote_value(value)}, expected one value"
            problems.setdefault(row, problem)
            raw_values[row] = None


def _spells_missing(value: Any, reader: ColumnReader) -> bool:
    """Return whether a value spells a missing one."""
    return isinstance(value, str) and value in reader.missing


def _column(values: list[Any], separator: str | None) -> pl.Series:
    """Return values as text, or as lists of text if one of them is a list."""
    if not any(isinstance(value, list) for value in values):
        return pl.Series([_text(value) for value in values], dtype=pl.String)
    lists = [
        None if value is None else [_text(item) for item in _items(value, separator)]
        for value in values
    ]
    return pl.Series(lists, dtype=pl.List(pl.String))


def _items(value: Any, separator: str | None) -> list[Any]:
    if isinstance(value, str) and separator is not None:
        return list(value.split(separator))
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    return json.dumps(value)


def _criteo_readers() -> dict[str, ColumnReader]:
    def read(expression: pl.Expr, name: str) -> Any:
        return lambda values: (
            values.alias(name).to_frame().select(expression).to_series()
        )

    def reader(name: str, expected: str, expression: pl.Expr) -> ColumnReader:
        return ColumnReader("", expected, read(expression, name), lambda dtype: True)

    label = criteo.LABEL
    readers = {
        label: ColumnReader(
            "",
            "0 or 1",
            read(criteo.label_value(), label),
            lambda dtype: True,
            may_be_missing=False,
        )
    }
    for name in criteo.DENSE_FEATURES:
        number = pl.col(name).cast(pl.Int64, strict=False)
        readers[name] = reader(name, "a whole number or nothing", number)
    for name in criteo.CATEGORICAL_FEATURES:
        value = criteo.categorical_value(name)
        readers[name] = reader(name, "a hash such as '68fd1e64' or nothing", value)
    return readers
