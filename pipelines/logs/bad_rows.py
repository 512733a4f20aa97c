"""Find which line of a raw file is malformed, and why; slow and exact."""

import datetime
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.logs.criteo import DENSE_FEATURES, LABEL
from tfdlrm.base import storage
from tfdlrm.base.errors import InputError

_LABEL = rb"[01]"
_DENSE = rb"-?0*[0-9]{1,19}|"
_CATEGORICAL = rb"0*[0-9a-fA-F]{1,8}|"
_SURE_DENSE = rb"-?[0-9]{1,18}|"
"""An integer that fits 64 bits whatever its digits are."""

_EXPECTED = {
    _LABEL: "0 or 1",
    _DENSE: "a 64-bit integer or nothing",
    _CATEGORICAL: "a hexadecimal number of at most 32 bits or nothing",
}
_FAULTS = {_LABEL: "bad label", _DENSE: "bad integer", _CATEGORICAL: "bad category"}


@dataclass(frozen=True)
class BadRow:
    """One malformed line.

    Args:
        path: The raw file.
        line: Number of the line, from 1.
        kind: The sort of fault, in a word or two; `SkippedRows` counts by it.
        problem: What came and what was expected.
        unit: What the number counts: lines, or the rows of a table.
    """

    path: Path
    line: int
    kind: str
    problem: str
    unit: str = "line"

    def __str__(self) -> str:
        return f"{self.path} {self.unit} {self.line}: {self.problem}"


class EmptyLogError(InputError):
    """A file has no rows, not even bad ones."""


class BadRowError(InputError):
    """A malformed row that stops the work."""

    def __init__(self, row: BadRow) -> None:
        super().__init__(f"{row}; fix the {row.unit}")
        self.row = row


@dataclass
class SkippedRows:
    """The malformed lines that were left out: a count and an example of each fault.

    Args:
        counts: Number of lines with each fault.
        examples: The first line with each fault.
        labels: Number of good rows with each value of the label; see
            `pipelines.logs.label_values`.
    """

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, BadRow] = field(default_factory=dict)
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, row: BadRow) -> None:
        """Count `row`."""
        self.counts[row.kind] += 1
        self.examples.setdefault(row.kind, row)

    def update(self, other: "SkippedRows") -> None:
        """Add what `other` counted in later lines or a later file."""
        self.counts.update(other.counts)
        self.labels.update(other.labels)
        for fault, row in other.examples.items():
            self.examples.setdefault(fault, row)

    def to_json(self) -> dict[str, Any]:
        """Return the same as JSON, which `from_json` reads."""
        examples = [
            {**asdict(row), "path": str(row.path)} for row in self.examples.values()
        ]
        labels = dict(self.labels)
        return {"counts": dict(self.counts), "examples": examples, "labels": labels}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "SkippedRows":
        """Read what `to_json` returned."""
        rows = [
            BadRow(**{**row, "path": storage.at(row["path"])})
            for row in fields["examples"]
        ]
        examples = {row.kind: row for row in rows}
        labels = Counter(fields.get("labels", {}))
        return cls(Counter(fields["counts"]), examples, labels)

    def report(self) -> list[str]:
        """Return a line with the sum and one for each fault; none without any."""
        if not self.counts:
            return []
        lines = [f"skipped {self.counts.total():,} malformed rows"]
        for fault, count in self.counts.most_common():
            lines.append(f"  {count:,} {fault}, first {self.examples[fault]}")
        return lines


class LineChecker:
    """Find what is wrong with single lines of one file.

    Args:
        path: Path of the file, for messages.
        columns: Names of the columns that a line must have.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path = path
        self._columns = columns
        patterns = [_pattern(name).replace(_DENSE, _SURE_DENSE) for name in columns]
        self._surely_good = re.compile(
            b"\t".join(b"(?:%s)" % pattern for pattern in patterns)
        )

    def check(self, line: bytes, number: int) -> BadRow | None:
        """Return what is wrong with `line`; `None` if it is well formed."""
        if self._surely_good.fullmatch(line):
            return None
        width = line.count(b"\t") + 1
        if not line:
            fault, problem = "blank line", f"is blank, expected {self._layout()}"
        elif width != len(self._columns):
            fault = "wrong number of columns"
            columns = "1 column" if width == 1 else f"{width} columns"
            problem = f"has {columns}, expected {self._layout()}"
        else:
            return self._check_fields(line.split(b"\t"), number)
        return BadRow(self._path, number, fault, problem)

    def _check_fields(self, fields: list[bytes], number: int) -> BadRow | None:
        for position, (name, value) in enumerate(
            zip(self._columns, fields, strict=True), start=1
        ):
            pattern = _pattern(name)
            if not _is_valid(value, pattern):
                problem = (
                    f"column {position} ({name}) is {quote_value(value)}, expected "
                    f"{_EXPECTED[pattern]}"
                )
                return BadRow(self._path, number, _FAULTS[pattern], problem)
        return None

    def _layout(self) -> str:
        return f"{len(self._columns)} columns separated by tabs"


def _pattern(name: str) -> bytes:
    if name == LABEL:
        return _LABEL
    return _DENSE if name in DENSE_FEATURES else _CATEGORICAL


def _is_valid(value: bytes, pattern: bytes) -> bool:
    if not re.fullmatch(pattern, value):
        return False
    if pattern != _DENSE or not value:
        return True
    # Python refuses to read thousands of digits, even if they are zeros.
    digits = value.removeprefix(b"-").lstrip(b"0")
    number = int(digits or b"0")
    return number <= 2**63 - (not value.startswith(b"-"))


def quote_value(value: object) -> str:
    """Return a bad value as a message quotes it."""
    if isinstance(value, pl.Series):
        value = value.to_list()
    if isinstance(value, datetime.date):
        value = value.isoformat()
    if value is None or value == b"":
        return "missing" if value is None else "empty"
    try:
        text, note = repr(value.decode() if isinstance(value, bytes) else value), ""
    except UnicodeDecodeError:
        text, note = repr(value)[1:], " (not UTF-8)"
    return (text if len(text) <= 40 else f"{text[:37]}...") + note
