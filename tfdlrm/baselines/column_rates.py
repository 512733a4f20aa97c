"""Click rates by the values of each column, and the column that predicts best alone."""

from dataclasses import dataclass

import numpy as np

from tfdlrm.baselines.column_ids import ColumnIds
from tfdlrm.data.schema import FeatureSchema

PRIOR_ROWS = 20.0
"""Rows with the base rate that are added to those of each value."""

TINY = 1e-7
"""The least probability that is rated, since a logarithm of 0 would be infinite."""

NUM_BUCKETS = 64
"""Buckets of a dense column, with about as many of the first rows each."""


@dataclass(frozen=True)
class ColumnRate:
    """The smoothed click rates of one column's values.

    Args:
        name: Name of the column.
        index: Its position among the categorical columns, or the dense ones.
        edges: Edges between the buckets of a dense column; `None` for a categorical
            one.
        rates: Click rate of each id or bucket.
        base_rate: Click rate of rows without an id.
    """

    name: str
    index: int
    edges: np.ndarray | None
    rates: np.ndarray
    base_rate: float

    def probabilities(self, dense: np.ndarray, columns: list[ColumnIds]) -> np.ndarray:
        """Return the click rate of each row's value.

        Args:
            dense: Dense features `(rows, n)`.
            columns: The ids of each categorical column.
        """
        if self.edges is not None:
            return self.rates[np.searchsorted(self.edges, dense[:, self.index])]
        ids = columns[self.index]
        return ids.means(self.rates[ids.ids], self.base_rate)


class RateCounter:
    """Counts rows and clicks by value, and rates columns on rows before they count.

    Args:
        schema: The columns.
        num_rows: Training rows; predictions for the second half of them are rated.
    """

    def __init__(self, schema: FeatureSchema, num_rows: int) -> None:
        self._names = [*schema.dense_features]
        self._names += [feature.name for feature in schema.categorical_features]
        self._num_dense = len(schema.dense_features)
        sizes = [NUM_BUCKETS] * self._num_dense + schema.vocabulary_sizes
        self._rows = [np.zeros(size, np.uint32) for size in sizes]
        self._clicks = [np.zeros(size, np.uint32) for size in sizes]
        self._losses = np.zeros(len(sizes))
        self._edges: list[np.ndarray] = []
        self._num_rows = self._num_clicks = 0
        self._rated_from = num_rows // 2

    @property
    def base_rate(self) -> float:
        """Click rate of all rows so far."""
        return self._num_clicks / max(self._num_rows, 1)

    def add(
        self, dense: np.ndarray, columns: list[ColumnIds], labels: np.ndarray
    ) -> None:
        """Count a batch.

        Args:
            dense: Dense features `(rows, n)`.
            columns: The ids of each categorical column.
            labels: Labels `(rows,)`.
        """
        if not self._edges:
            shares = np.arange(1, NUM_BUCKETS) / NUM_BUCKETS
            self._edges = [np.quantile(values, shares) for values in dense.T]
        clicks = labels.astype(np.uint32)
        for index, ids in enumerate([*self._buckets(dense), *columns]):
            if self._num_rows and self._num_rows >= self._rated_from:
                rates = ids.means(self._rates(index, ids.ids), self.base_rate)
                chances = np.where(clicks > 0, rates, 1 - rates)
                self._losses[index] -= np.log(np.maximum(chances, TINY)).sum()
            np.add.at(self._rows[index], ids.ids, np.uint32(1))
            np.add.at(self._clicks[index], ids.ids, ids.of_rows(clicks))
        self._num_rows += len(labels)
        self._num_clicks += int(clicks.sum())

    def best(self) -> ColumnRate:
        """Return the column with the lowest log loss on rows not yet counted."""
        index = int(self._losses.argmin())
        is_dense = index < self._num_dense
        return ColumnRate(
            self._names[index],
            index if is_dense else index - self._num_dense,
            self._edges[index] if is_dense else None,
            self._rates(index, slice(None)).astype(np.float32),
            self.base_rate,
        )

    def _rates(self, index: int, ids: np.ndarray | slice) -> np.ndarray:
        clicks = self._clicks[index][ids] + PRIOR_ROWS * self.base_rate
        return clicks / (self._rows[index][ids] + PRIOR_ROWS)

    def _buckets(self, dense: np.ndarray) -> list[ColumnIds]:
        return [
            ColumnIds(np.searchsorted(edges, values), None, len(values))
            for edges, values in zip(self._edges, dense.T, strict=True)
        ]
