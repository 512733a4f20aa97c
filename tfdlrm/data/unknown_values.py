"""Count the values without an id in a model, and compare them with its data set."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tfdlrm.base import storage
from tfdlrm.base.checksums import checked_bytes
from tfdlrm.base.errors import InputError
from tfdlrm.base.plain_text import markdown
from tfdlrm.data.schema import COVERAGE_FILE

_BEFORE = "unknown_before"
_FAR_ABOVE_FACTOR = 2
_FAR_ABOVE_SHARE = 0.05
_MAX_EXAMPLES = 3
_MAX_COLUMNS = 30
_MAX_TABLE_ROWS = 30


def is_far_above(share: np.ndarray | float, usual: np.ndarray | float) -> Any:
    """Return whether a share of unknown values needs a warning, element by element.

    It does if it is above the usual share by more than a twentieth of all values, and
    unknown values are more than twice as frequent as usual, or known values less than
    half as frequent.

    Example:

    >>> is_far_above(np.array([0.06, 0.8, 0.8, 1.0]), np.array([0.0, 0.3, 0.7, 0.7]))
    array([ True,  True, False,  True])
    """
    is_above = share > usual + _FAR_ABOVE_SHARE
    is_double = share > _FAR_ABOVE_FACTOR * usual + _FAR_ABOVE_SHARE
    is_half_known = _FAR_ABOVE_FACTOR * (1 - share) < 1 - usual
    return is_above & (is_double | is_half_known)


def usual_shares(directory: Path, sha256: str | None = None) -> dict[str, float]:
    """Read the share of unknown values that each column of a data set had.

    Args:
        directory: The directory of the data set, or of an exported model's copies.
        sha256: Checksum of `coverage.json` by the schema, if that has one.

    Returns:
        For each column the largest share of any split; empty if there is no coverage,
        as in models exported by earlier versions. If the data set extends another, the
        share of values that were unknown before counts too: tomorrow's rows will have
        as many new values as today's had.

    Raises:
        InputError: If the coverage is damaged.
    """
    path = storage.at(directory) / COVERAGE_FILE
    if not path.is_file():
        return {}
    try:
        coverage = json.loads(checked_bytes(path, sha256))
        return {
            feature["name"]: max(
                (*feature["unknown"].values(), *feature.get(_BEFORE, {}).values()),
                default=0.0,
            )
            for feature in coverage["features"]
        }
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} cannot be read as the coverage of a data set ({error}): prepare "
            "the data again"
        ) from None


class UnknownValues:
    """Counts of all values and of unknown values, by categorical column.

    Args:
        columns: Names of the categorical columns.
        usual: For each column, the share of unknown values in the data set; columns
            that it lacks are compared with 0.

    Example:

    >>> counts = UnknownValues(["country"], {"country": 0.01})
    >>> rows = counts.rows(2)
    >>> rows.add("country", pl.Series(["DE", "de"]), np.array([True, False]))
    >>> rows.finish()
    >>> for line in counts.report():
    ...     print(line)
    unknown values: country 1 of 2 (50.00%)
    warning: country: 1 of 2 values (50.00%) are unknown to the model, 1.00% in its \
data set: 'DE'; are they written as in training?
    warning: 1 of 2 rows have no known value in any categorical column
    """

    def __init__(
        self, columns: Sequence[str], usual: Mapping[str, float] | None = None
    ) -> None:
        self._usual = dict(usual or {})
        self._values = dict.fromkeys(columns, 0)
        self._unknown = dict.fromkeys(columns, 0)
        self._examples: dict[str, list[str]] = {name: [] for name in columns}
        self._num_rows = self._unknown_rows = 0

    def empty(self) -> "UnknownValues":
        """Return counts of the same columns in which nothing is counted yet."""
        return UnknownValues([*self._values], self._usual)

    def rows(self, num_rows: int) -> "_Rows":
        """Return a counter for the columns of some rows."""
        return _Rows(self, num_rows)

    def add(self, column: str, num_values: int, num_unknown: int) -> None:
        """Count values of a column, with missing ones, and its unknown values."""
        self._values[column] += num_values
        self._unknown[column] += num_unknown

    def add_examples(self, column: str, unknown: pl.Series) -> None:
        """Keep the first few of the unknown values of a column."""
        examples = self._examples[column]
        if len(examples) < _MAX_EXAMPLES:
            texts = map(_as_text, unknown.unique(maintain_order=True).head(10))
            new_examples = [text for text in texts if text not in examples]
            examples += new_examples[: _MAX_EXAMPLES - len(examples)]

    def add_rows(self, num_rows: int, num_unknown: int) -> None:
        """Count rows, and those without a known value in any column."""
        self._num_rows += num_rows
        self._unknown_rows += num_unknown

    @property
    def shares(self) -> dict[str, float]:
        """The share of unknown values of each column."""
        return {
            name: unknown / max(self._values[name], 1)
            for name, unknown in self._unknown.items()
        }

    @property
    def share(self) -> float:
        """The share of unknown values among those of all columns together."""
        return sum(self._unknown.values()) / max(sum(self._values.values()), 1)

    def to_json(self) -> dict[str, Any]:
        """Return the shares of this log and of the data set, in types of JSON."""
        return {
            "unknown": self.shares,
            "usual_unknown": {name: self._usual.get(name) for name in self._values},
            "unknown_share": self.share,
            "rows_without_known_value": self._unknown_rows,
        }

    def as_table(self) -> str:
        """Return the shares as a Markdown table, the highest first.

        Example:

        >>> counts = UnknownValues(["country", "shop"], {"country": 0.01})
        >>> counts.add("country", num_values=4, num_unknown=1)
        >>> print(counts.as_table())
        | column | unknown values | in its data set |
        |---|---:|---:|
        | country | 25.00% | 1.00% |
        | shop | 0.00% | - |
        """
        shares = self.shares
        lines = ["| column | unknown values | in its data set |", "|---|---:|---:|"]
        for name in self._worst_first()[:_MAX_TABLE_ROWS]:
            usual = self._usual.get(name)
            usual_text = "-" if usual is None else f"{usual:.2%}"
            lines.append(f"| {markdown(name)} | {shares[name]:.2%} | {usual_text} |")
        num_more = len(shares) - _MAX_TABLE_ROWS
        if num_more > 0:
            lines += ["", f"{num_more} more columns have no higher share."]
        return "\n".join(lines)

    def _worst_first(self) -> list[str]:
        shares = self.shares
        return sorted(shares, key=lambda name: -shares[name])

    def report(self) -> list[str]:
        """Return a line of all counts, and one for each column far above its usual."""
        shares = self.shares
        worst = [name for name in self._worst_first() if shares[name]]
        if not worst:
            return []
        counts_text = ", ".join(
            f"{name} {self._unknown[name]:,} of {self._values[name]:,} "
            f"({shares[name]:.2%})"
            for name in worst[:_MAX_COLUMNS]
        )
        num_more = len(worst) - _MAX_COLUMNS
        ellipsis = f", and {num_more} more columns" if num_more > 0 else ""
        lines = [f"unknown values: {counts_text}{ellipsis}"]
        lines += [
            self._warning(name)
            for name in worst
            if is_far_above(shares[name], self._usual.get(name, 0.0))
        ]
        if self._unknown_rows:
            lines.append(
                f"warning: {self._unknown_rows:,} of {self._num_rows:,} rows have no "
                "known value in any categorical column"
            )
        return lines

    def _warning(self, column: str) -> str:
        num_values, num_unknown = self._values[column], self._unknown[column]
        usual = self._usual.get(column)
        comparison = "" if usual is None else f", {usual:.2%} in its data set"
        examples = ", ".join(map(repr, self._examples[column]))
        examples_text = f": {examples}" if examples else ""
        return (
            f"warning: {column}: {num_unknown:,} of {num_values:,} values "
            f"({num_unknown / num_values:.2%}) are unknown to the model{comparison}"
            f"{examples_text}; are they written as in training?"
        )


class _Rows:
    """Count some rows column by column; see `UnknownValues.rows`."""

    def __init__(self, counts: UnknownValues, num_rows: int) -> None:
        self._counts = counts
        self._has_unknown = np.zeros(num_rows, bool)
        self._has_known = np.zeros(num_rows, bool)

    def add(self, column: str, values: pl.Series, are_unknown: np.ndarray) -> None:
        """Count a column with one value a row, null where missing."""
        self._has_unknown |= are_unknown
        self._has_known |= values.is_not_null().to_numpy() & ~are_unknown
        self._add(column, values, are_unknown, len(values))

    def add_bags(
        self,
        column: str,
        values: pl.Series,
        are_unknown: np.ndarray,
        lengths: np.ndarray,
    ) -> None:
        """Count a column with `lengths` values a row; none counts as one missing."""
        row_of_value = np.repeat(np.arange(len(lengths)), lengths)
        self._has_unknown[row_of_value[are_unknown]] = True
        self._has_known[row_of_value[~are_unknown]] = True
        num_empty = int((lengths == 0).sum())
        self._add(column, values, are_unknown, len(values) + num_empty)

    def finish(self) -> None:
        """Count the rows, once all columns are added."""
        num_unknown = int((self._has_unknown & ~self._has_known).sum())
        self._counts.add_rows(len(self._has_unknown), num_unknown)

    def _add(
        self, column: str, values: pl.Series, are_unknown: np.ndarray, num_values: int
    ) -> None:
        num_unknown = int(are_unknown.sum())
        self._counts.add(column, num_values, num_unknown)
        if num_unknown:
            self._counts.add_examples(column, values.filter(pl.Series(are_unknown)))


def _as_text(value: str | int) -> str:
    """Write a value as the log has it: Criteo's as 8 hexadecimal digits."""
    return f"{value:08x}" if isinstance(value, int) else value
