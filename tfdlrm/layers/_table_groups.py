"""Look-ups over tables of several widths, as if they were one table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from tfdlrm.layers._fused_tables import FusedTables
from tfdlrm.layers._id_bags import IdBags
from tfdlrm.layers._table_values import CHUNK_ROWS


@dataclass(frozen=True)
class TableGroup:
    """Features whose tables are fused.

    Args:
        positions: Positions of the features in the collection.
        tables: Tables of these features.
        projection: Weight `(features, dim, embedding_dim)` from the width of the tables
            to the common width, or `None` if they are equal.
    """

    positions: np.ndarray
    tables: FusedTables
    projection: Any

    def project(self, vectors: Any) -> Any:
        """Project vectors `(batch, features, dim)` to the common width."""
        if self.projection is None:
            return vectors
        projection = ops.cast(self.projection, self.tables.compute_dtype)
        return ops.einsum("bfd,fde->bfe", vectors, projection)


class TableGroups:
    """The tables of all features, in groups of one width each.

    Args:
        groups: Groups that hold each feature once.
    """

    def __init__(self, groups: Sequence[TableGroup]) -> None:
        self.groups = list(groups)
        order = np.concatenate([group.positions for group in groups])
        self._order = np.argsort(order)  # where joined groups hold each feature

    def look_up(self, ids: Any) -> Any:
        """Return vectors `(batch, features, embedding_dim)` of ids that are in range.

        Args:
            ids: Integers of shape `(batch, features)`.
        """
        outputs = []
        for group in self.groups:
            group_ids = ids
            if len(self.groups) > 1:
                group_ids = ops.take(ids, group.positions, axis=1)
            vectors = group.tables(group_ids, np.arange(len(group.positions)))
            outputs.append(group.project(vectors))
        return self._join(outputs)

    def look_up_bags(self, bags: IdBags, combiner: str) -> Any:
        """Return the combined vectors of bags, `(batch, features, embedding_dim)`.

        Args:
            bags: Ids that are all in range.
            combiner: `sum`, `mean` or `sqrtn`.
        """
        outputs = []
        for group in self.groups:
            group_bags = bags.select(group.positions)
            vectors = group.tables(group_bags.ids, group_bags.features, in_sums=True)
            combined = group_bags.combine(vectors, combiner)
            combined = ops.cast(combined, group.tables.compute_dtype)
            outputs.append(group.project(combined))
        return self._join(outputs)

    def penalty(self, bags: IdBags, regularizer: Any) -> Any:
        """Return the penalty of the table rows that bags name, each row once.

        Args:
            bags: Ids that are all in range.
            regularizer: Function from rows `(rows, dim)` to a number.
        """
        penalties = []
        for group in self.groups:
            ids = bags.select(group.positions)
            penalties.append(group.tables.penalty(ids.ids, ids.features, regularizer))
        return sum(penalties)

    def vectors_of(self, feature: int, size: int) -> np.ndarray:
        """Return the vectors of all ids of a feature, `(size, embedding_dim)`."""
        group, index = self._find(feature)
        parts = []
        for start in range(0, size, CHUNK_ROWS):
            ids = ops.arange(start, min(start + CHUNK_ROWS, size), dtype="int64")
            vectors = group.tables(ids, np.array(index), in_sums=True)
            if group.projection is not None:
                projection = ops.cast(group.projection[index], vectors.dtype)
                vectors = ops.matmul(vectors, projection)
            parts.append(ops.convert_to_numpy(vectors))
        return np.concatenate(parts)

    def rows_of(self, feature: int, size: int) -> tuple[Any, slice] | None:
        """Return the variable and the rows of a feature's table.

        Returns:
            `None` if the feature has no rows of its own in a single variable.
        """
        group, index = self._find(feature)
        tables = group.tables
        is_shared = tables.num_collisions is not None
        if is_shared or tables.quantization_mode or len(tables.tables) > 1:
            return None
        start = int(tables.starts[index])
        return tables.tables[0], slice(start, start + size)

    def _find(self, feature: int) -> tuple[TableGroup, int]:
        """Return the group of a feature, and its position in the group."""
        group = next(group for group in self.groups if feature in group.positions)
        return group, int(np.flatnonzero(group.positions == feature)[0])

    def _join(self, outputs: list[Any]) -> Any:
        """Return the outputs of the groups as one, with features in their own order."""
        if len(outputs) == 1:
            return outputs[0]
        return ops.take(ops.concatenate(outputs, axis=1), self._order, axis=1)
