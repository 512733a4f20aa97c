"""The ids of one column at a time, from batches of single ids or of bags."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class ColumnIds:
    """The ids of a column in a batch.

    Args:
        ids: Shape `(ids,)`.
        rows: Row of each id; `None` if every row has exactly one, in order.
        num_rows: Rows of the batch.
    """

    ids: np.ndarray
    rows: np.ndarray | None
    num_rows: int

    def of_rows(self, values: np.ndarray) -> np.ndarray:
        """Return for each id the value of its row; `values` has shape `(rows,)`."""
        return values if self.rows is None else values[self.rows]

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return for each row the sum over its ids; `values` has shape `(ids,)`."""
        if self.rows is None:
            return values
        return np.bincount(self.rows, values, self.num_rows)

    def means(self, values: np.ndarray, absent: float) -> np.ndarray:
        """Return for each row the mean over its ids.

        Args:
            values: Shape `(ids,)`.
            absent: The result for rows without ids.
        """
        if self.rows is None:
            return values
        counts = np.bincount(self.rows, minlength=self.num_rows)
        means = self.sums(values) / np.maximum(counts, 1)
        return np.where(counts > 0, means, absent)


def ids_by_column(ids: Any) -> Iterator[ColumnIds]:
    """Yield the ids of each categorical column of a batch.

    Args:
        ids: Tensor `(batch, features)`, or `tf.RaggedTensor` `(batch, features, None)`.
    """
    if not isinstance(ids, tf.RaggedTensor):
        for column in np.asarray(ids).T:
            yield ColumnIds(np.ascontiguousarray(column), None, len(column))
        return
    num_rows = int(ids.nrows())
    lengths = np.diff(ids.nested_row_splits[-1])
    num_columns = len(lengths) // num_rows
    columns = np.repeat(np.arange(lengths.size) % num_columns, lengths)
    rows = np.repeat(np.arange(lengths.size) // num_columns, lengths)
    flat_ids = ids.flat_values.numpy()
    order = np.argsort(columns, kind="stable")
    ends = np.cumsum(np.bincount(columns, minlength=num_columns))
    for part in np.split(order, ends[:-1]):
        yield ColumnIds(flat_ids[part], rows[part], num_rows)
