"""Rows as JSON objects, one a message of a stream, as typed data frames."""

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from pipelines.logs import criteo
from pipelines.logs.bad_rows import quote_value
from pipelines.logs.columns import Columns
from pipelines.logs.label_values import spelled_as_described
from pipelines.logs.values import TIME_KEY, Kind, kinds


class JsonRows:
    """Reads JSON objects whose keys are the names of raw columns.

    A column that an object lacks, or has as null, is missing there; keys that are no
    columns are passed over. Values are what a log in text would hold: Criteo's
    categories as hexadecimal text, numbers as numbers or text, several values as a list
    or as text with separators.

    Args:
        columns: What the columns are.

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
            self._kinds = _criteo_kinds()
        else:
            found = kinds(columns, labelled=True)
            found.pop(TIME_KEY, None)
            self._kinds = {name: kind for name, (_, kind) in found.items()}

    def read(self, messages: Sequence[bytes]) -> tuple[pl.DataFrame, dict[int, str]]:
        """The good rows, and what is wrong with each bad message, by its number."""
        bad: dict[int, str] = {}
        objects = [_parsed(message) for message in messages]
        for number, parsed in enumerate(objects):
            if parsed is None:
                bad[number] = f"it begins with {messages[number][:20]!r}"
        rows = [parsed or {} for parsed in objects]
        typed: dict[str, pl.Series] = {}
        for name, kind in self._kinds.items():
            given = [row.get(name) for row in rows]
            if name not in self._separators:
                for row, value in enumerate(given):
                    if isinstance(value, list | dict):
                        found = f"{name!r} is {quote_value(value)}"
                        bad.setdefault(row, f"{found}, expected one value")
                        given[row] = None
            else:
                # Before texts are split, since a spelling may have the separator in it.
                given = [None if _spells(value, kind) else value for value in given]
            values = _column(given, self._separators.get(name))
            if name == self._columns.label:
                values = self._spelled(given, values)
            typed[name], is_bad = kind.typed(values)
            for row in is_bad.arg_true():
                bad.setdefault(row, kind.problem(name, rows[row].get(name)))
        frame = pl.DataFrame(typed)
        if bad:
            good = [number for number in range(len(rows)) if number not in bad]
            frame = frame[good]
        return frame, bad

    def _spelled(self, given: list[Any], values: pl.Series) -> pl.Series:
        """Labels as text, booleans in the case that the description writes."""
        is_boolean = pl.Series(
            [isinstance(each, bool) for each in given], dtype=pl.Boolean
        )
        if not is_boolean.any():
            return values
        return spelled_as_described(values, self._columns).zip_with(is_boolean, values)


def is_object(message: bytes) -> bool:
    """Whether a message is a JSON object, with white space before it or not."""
    # Most messages need not be parsed to see that they are none.
    return message.lstrip().startswith(b"{") and _parsed(message) is not None


def _parsed(message: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(message)
        if rb"\u" in message:
            json.dumps(found, ensure_ascii=False).encode()  # half a surrogate cannot
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _spells(value: Any, kind: Kind) -> bool:
    """Whether a value spells a missing one."""
    return isinstance(value, str) and value in kind.missing


def _column(values: list[Any], separator: str | None) -> pl.Series:
    """Values as text, or as lists of text where one of them is a list."""
    if not any(isinstance(value, list) for value in values):
        return pl.Series([_text(value) for value in values], dtype=pl.String)
    lists = [
        None if value is None else [_text(each) for each in _listed(value, separator)]
        for value in values
    ]
    return pl.Series(lists, dtype=pl.List(pl.String))


def _listed(value: Any, separator: str | None) -> list[Any]:
    if isinstance(value, str) and separator is not None:
        return list(value.split(separator))
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    return json.dumps(value)


def _criteo_kinds() -> dict[str, Kind]:
    def read(expression: pl.Expr, name: str) -> Any:
        return lambda values: (
            values.alias(name).to_frame().select(expression).to_series()
        )

    def kind(name: str, expected: str, expression: pl.Expr) -> Kind:
        return Kind("", expected, read(expression, name), lambda dtype: True)

    label = criteo.LABEL
    found = {
        label: Kind(
            "",
            "0 or 1",
            read(criteo.label_value(), label),
            lambda dtype: True,
            may_be_missing=False,
        )
    }
    for name in criteo.DENSE_FEATURES:
        number = pl.col(name).cast(pl.Int64, strict=False)
        found[name] = kind(name, "a whole number or nothing", number)
    for name in criteo.CATEGORICAL_FEATURES:
        value = criteo.categorical_value(name)
        found[name] = kind(name, "a hash such as '68fd1e64' or nothing", value)
    return found
