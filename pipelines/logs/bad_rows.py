"""Which line of a raw file is malformed, and why; slow and exact."""

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
"""Fits 64 bits whatever its digits are."""

_EXPECTED = {
    _LABEL: "0 or 1",
    _DENSE: "a 64-bit integer or nothing",
    _CATEGORICAL: "a hexadecimal number of at most 32 bits or nothing",
}
_KINDS = {_LABEL: "bad label", _DENSE: "bad integer", _CATEGORICAL: "bad category"}


@dataclass(frozen=True)
class BadRow:
    """One malformed line.

    Args:
        path: The raw file.
        line: Its number, from 1.
        kind: What is wrong, in a word or two.
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
    """A malformed row that stops the work.

    Args:
        row: The row.
    """

    def __init__(self, row: BadRow) -> None:
        super().__init__(f"{row}; mend the {row.unit}")
        self.row = row


@dataclass
class SkippedRows:
    """The malformed lines that were left out: how many of each kind, and the first.

    Args:
        counts: Number of lines of each kind.
        examples: The first line of each kind.
        labels: Of the rows that were kept, how many have each value of the label; see
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
        for kind, row in other.examples.items():
            self.examples.setdefault(kind, row)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` makes the same of."""
        examples = [
            {**asdict(row), "path": str(row.path)} for row in self.examples.values()
        ]
        labels = dict(self.labels)
        return {"counts": dict(self.counts), "examples": examples, "labels": labels}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "SkippedRows":
        """The rows that `to_json` wrote down."""
        rows = [
            BadRow(**{**row, "path": storage.at(row["path"])})
            for row in fields["examples"]
        ]
        examples = {row.kind: row for row in rows}
        labels = Counter(fields.get("labels", {}))
        return cls(Counter(fields["counts"]), examples, labels)

    def report(self) -> list[str]:
        """A line for the sum and one for each kind; none when nothing was skipped."""
        if not self.counts:
            return []
        lines = [f"skipped {self.counts.total():,} malformed rows"]
        for kind, count in self.counts.most_common():
            lines.append(f"  {count:,} {kind}, first {self.examples[kind]}")
        return lines


class LineChecker:
    """Finds what is wrong with single lines of one file.

    Args:
        path: The file, for messages.
        columns: Names of the columns that a line must have.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path = path
        self._columns = columns
        sure = [_pattern(name).replace(_DENSE, _SURE_DENSE) for name in columns]
        self._surely_good = re.compile(b"\t".join(b"(?:%s)" % each for each in sure))

    def check(self, line: bytes, number: int) -> BadRow | None:
        """What is wrong with `line`, or `None` when it is well formed."""
        if self._surely_good.fullmatch(line):
            return None
        fields = line.split(b"\t")
        if not line:
            kind, problem = "blank line", f"is blank, expected {self._layout()}"
        elif len(fields) != len(self._columns):
            kind = "wrong number of columns"
            found = "1 column" if len(fields) == 1 else f"{len(fields)} columns"
            problem = f"has {found}, expected {self._layout()}"
        else:
            return self._check_fields(fields, number)
        return BadRow(self._path, number, kind, problem)

    def _check_fields(self, fields: list[bytes], number: int) -> BadRow | None:
        for position, (name, value) in enumerate(
            zip(self._columns, fields, strict=True), start=1
        ):
            pattern = _pattern(name)
            if not _is_valid(value, pattern):
                problem = (
                    f"column {position} ({name}) is {shown(value)}, expected "
                    f"{_EXPECTED[pattern]}"
                )
                return BadRow(self._path, number, _KINDS[pattern], problem)
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


def shown(value: object) -> str:
    """A bad value, as a message quotes it."""
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
