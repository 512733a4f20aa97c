"""Guess the description of a log that came without one, for the message about it."""

import csv
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import yaml

ADVICE = (
    "a log of your own is prepared with --columns FILE (of tfdlrm.train and "
    "tfdlrm.rolling, --prepare.columns FILE), which describes its columns"
)
"""What to do about a log that is not in Criteo's format."""

_SEPARATORS = ",\t;|"
_FORMATS = {",": {}, "\t": {"format": "tsv"}}
_LABELS = (
    *("label", "click", "clicked", "clicks", "is_click", "is_clicked", "target", "y"),
    *("converted", "conversion", "is_converted", "purchased", "purchase", "bought"),
    *("install", "installed", "is_attributed", "outcome", "response", "liked"),
)
_POSITIVE = ("yes", "y", "t", "click", "clicked", "true", "positive")
_BINARY = {"0", "1", "0.0", "1.0", "true", "false"}
_IDS = re.compile(r"(.*[_ -])?(id|ids|uid|uuid|key|code|zip)|.*[a-z]I[dD]s?", re.ASCII)
_TIMES = re.compile(
    r"(.*[_ -])?(time|timestamp|datetime|date|day|ts|created_at)|.*[a-z](Time|Date)"
)
_LIST = re.compile(r"[^|]+(\|[^|]+)+")
_ROWS = 100


@dataclass(frozen=True)
class _Column:
    """The beginning of a column: its name and values, without missing ones."""

    name: str
    values: list[str]
    is_list: bool = False

    def has(self, matches: Callable[[str], bool]) -> bool:
        """Whether there are values, all of which match."""
        return bool(self.values) and all(map(matches, self.values))

    @property
    def is_number(self) -> bool:
        return self.has(_is_number)

    @property
    def is_binary(self) -> bool:
        return self.has(lambda value: value.lower() in _BINARY)


def advice(lines: Sequence[bytes]) -> str:
    """Return what to do about a text log, with the smallest description of it.

    Args:
        lines: The first lines of the log.
    """
    return _advice(_described_text(lines))


def parquet_advice(path: Path) -> str:
    """Return what to do about a Parquet log, with the smallest description of it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file:
            batch = next(pq.ParquetFile(file).iter_batches(_ROWS), None)
    except (OSError, pa.ArrowException):
        return _advice(None)
    if batch is None:
        return _advice(None)
    columns = [
        _Column(
            name,
            [str(value) for value in values.to_pylist() if value is not None],
            pa.types.is_list(values.type) or pa.types.is_large_list(values.type),
        )
        for name, values in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return _advice({"format": "parquet", **_described(columns)})


def _advice(description: dict[str, Any] | None) -> str:
    if description is None:
        return f"{ADVICE}; docs/own_data.md shows such a file"
    text = yaml.safe_dump(
        description,
        default_flow_style=True,
        sort_keys=False,
        allow_unicode=True,
        width=math.inf,
    ).strip()
    return f"{ADVICE}; FILE could hold {text}"


def _described_text(lines: Sequence[bytes]) -> dict[str, Any] | None:
    """Return a description of a text log; `None` if it has no table's form."""
    texts = [line.decode("utf-8-sig", "replace") for line in lines if line.strip()]
    tables = [(_table(texts[:_ROWS], mark), mark) for mark in _SEPARATORS]
    rows, separator = max(tables, key=lambda table: len(table[0][0]) if table[0] else 0)
    if not rows or len(rows[0]) < 2:
        return None
    head, *values = rows
    has_head = (
        all(head) and len(set(head)) == len(head) and not any(map(_is_number, head))
    )
    names = head if has_head else [f"column_{i + 1}" for i in range(len(head))]
    columns = [
        _Column(name, [row[i] for row in (values if has_head else rows) if row[i]])
        for i, name in enumerate(names)
    ]
    form = _FORMATS.get(separator, {"separator": separator})
    return {**form, **({} if has_head else {"names": names}), **_described(columns)}


def _table(texts: list[str], separator: str) -> list[list[str]]:
    """Return the rows of a text with a separator; none if their widths differ."""
    try:
        rows = list(csv.reader(StringIO("\n".join(texts)), delimiter=separator))
    except csv.Error:
        return []
    rows = [[value.strip() for value in row] for row in rows if row]
    same = [row for row in rows if len(row) == len(rows[0])]
    return same if 2 * len(same) > len(rows) else []


def _described(columns: list[_Column]) -> dict[str, Any]:
    label = _label(columns)
    dense: list[Any] = []
    categorical: list[Any] = []
    for column in columns:
        if column is label or _is_time(column):
            continue
        if column.is_number and not _IDS.fullmatch(column.name):
            is_negative = any(float(value) < 0 for value in column.values)
            entry = {"name": column.name, "transform": "none"}
            dense.append(entry if is_negative else column.name)
        elif column.is_list:
            categorical.append({"name": column.name, "multi_hot": True})
        elif any(map(_LIST.fullmatch, column.values)):
            categorical.append({"name": column.name, "separator": "|"})
        else:
            categorical.append(column.name)
    features = {"dense": dense, "categorical": categorical}
    described_label = _described_label(label)
    return {"label": described_label, **{k: v for k, v in features.items() if v}}


def _label(columns: list[_Column]) -> _Column | None:
    """Return the column that is the label by its name, or that alone has 0 and 1."""
    for name in _LABELS:
        for column in columns:
            if column.name.lower() == name:
                return column
    binary = [column for column in columns if column.is_binary]
    return binary[0] if binary else None


def _described_label(label: _Column | None) -> Any:
    if label is None:
        return "NAME_OF_THE_LABEL"
    values = sorted(set(label.values))
    if label.is_binary or len(values) != 2:
        return label.name
    positive = [value for value in values if value.lower() in _POSITIVE]
    return {"name": label.name, "positive": (positive or values)[-1]}


def _is_time(column: _Column) -> bool:
    return bool(_TIMES.fullmatch(column.name))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
