"""Counts of unknown values in the rows that a server scored."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tfdlrm.data.unknown_values import UnknownValues

if TYPE_CHECKING:
    from tfdlrm.serving.remote import Columns, Scores

Fields = Sequence[bytes] | Sequence[Sequence[bytes]]
"""A column of rows as they were sent: texts, or lists of texts."""


class RemoteCounts:
    """Counter of the unknown values in the answers of a model behind a server.

    Args:
        coverage: What `RemoteModel.coverage` returned; empty where the model counts no
            unknown values.
        separators: Text between the values of the columns that have several in one
            text, as far as that is known.
    """

    def __init__(
        self,
        coverage: Mapping[str, float],
        separators: Mapping[str, str | None] | None = None,
    ) -> None:
        self._separators = {
            name: separator.encode()
            for name, separator in (separators or {}).items()
            if separator is not None
        }
        self._columns = list(coverage)
        usual = {name: share for name, share in coverage.items() if share >= 0}
        self._counts = UnknownValues(self._columns, usual)

    def add(self, rows: "Columns", scores: "Scores") -> None:
        """Count the unknown values of some rows.

        Args:
            rows: The rows as they were sent, by column.
            scores: The server's answer.
        """
        if scores.unknown is None or scores.values is None:
            return
        has_known = np.zeros(len(scores.unknown), bool)
        for index, name in enumerate(self._columns):
            unknown, values = scores.unknown[:, index], scores.values[:, index]
            self._counts.add(name, int(values.sum()), int(unknown.sum()))
            has_known |= (unknown < values) & _are_filled(rows[name])
            if unknown.any():
                examples = self._unknown_values(name, rows[name], unknown)
                self._counts.add_examples(name, pl.Series(examples, dtype=pl.String))
        has_unknown = scores.unknown.any(axis=1)
        num_unknown = int((has_unknown & ~has_known).sum())
        self._counts.add_rows(len(has_known), num_unknown)

    def _unknown_values(
        self, name: str, fields: Fields, unknown: np.ndarray
    ) -> list[str]:
        """Return values of a column that are certainly unknown."""
        separator = self._separators.get(name)
        values = []
        for index in np.flatnonzero(unknown):
            field = fields[index]
            texts = [field] if isinstance(field, bytes) else field
            if separator is not None:
                texts = [part for text in texts for part in text.split(separator)]
            texts = [text for text in texts if text]
            if len(texts) == unknown[index]:  # all of them
                values += [text.decode(errors="replace") for text in texts]
        return values

    def report(self) -> list[str]:
        """Return what to print at the end; see `UnknownValues.report`."""
        return self._counts.report()


def _are_filled(fields: Fields) -> np.ndarray:
    """Return which rows have a value in a column."""
    return np.array(
        [any(field) if isinstance(field, list) else bool(field) for field in fields],
        bool,
    )
