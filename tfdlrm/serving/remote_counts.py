"""Counts of unknown values in the rows that a server scored."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tfdlrm.data.unknown_values import UnknownValues

if TYPE_CHECKING:
    from tfdlrm.serving.remote import Scores


class RemoteCounts:
    """Counter of the unknown values in the answers of a model behind a server.

    Args:
        coverage: What `RemoteModel.coverage` returned; empty where the model counts no
            unknown values.
    """

    def __init__(self, coverage: Mapping[str, float]) -> None:
        self._columns = list(coverage)
        usual = {name: share for name, share in coverage.items() if share >= 0}
        self._counts = UnknownValues(self._columns, usual)

    def add(self, rows: Mapping[str, Sequence[bytes]], scores: "Scores") -> None:
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
            texts = np.array(rows[name], object)
            has_known |= (unknown < values) & (texts != b"")
            if unknown.any():
                examples = [
                    text.decode(errors="replace") for text in texts[unknown > 0]
                ]
                self._counts.add_examples(name, pl.Series(examples))
        has_unknown = scores.unknown.any(axis=1)
        num_unknown = int((has_unknown & ~has_known).sum())
        self._counts.add_rows(len(has_known), num_unknown)

    def report(self) -> list[str]:
        """Return what to print at the end; see `UnknownValues.report`."""
        return self._counts.report()
