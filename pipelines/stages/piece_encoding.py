"""Turn one piece of typed rows into ids, in the same way for every engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from polars.selectors import by_name

from pipelines.ids.coverage import Coverage
from pipelines.ids.encoded_rows import Bags, EncodedRows
from pipelines.ids.forgotten import forget
from pipelines.ids.vocabulary import Table, encode_categories
from pipelines.logs.columns import Columns
from pipelines.stages.buckets import Buckets
from pipelines.stages.split import Split
from tfdlrm.data.block_format import DENSE, IDS, LABEL, row_type

Ids = Mapping[str, np.ndarray]
"""Ids of all single-hot columns under the first one's name, and of each bag."""


@dataclass(frozen=True)
class EncodedPiece:
    """The rows of a piece by the bucket of each split that they go to.

    Args:
        parts: For each split the rows of each bucket.
        positives: For each split the number of rows with label 1.
        counts: For each split the counts of `Coverage.count`.
    """

    parts: list[list[EncodedRows]]
    positives: list[int]
    counts: list[np.ndarray]


@dataclass(frozen=True)
class PieceEncoder:
    """Encode pieces of typed rows; any thread or process may encode any piece.

    Args:
        columns: The columns of the log.
        split: The row numbers of each split.
        buckets: The buckets of each split, in the order of their rows.
        coverage: Counts unknown and missing values.
    """

    columns: Columns
    split: Split
    buckets: tuple[Buckets, ...]
    coverage: Coverage

    def ids(
        self, frame: pl.DataFrame, names: Sequence[str], tables: Sequence[Table]
    ) -> dict[str, np.ndarray]:
        """Return the ids of some columns.

        Args:
            frame: Typed rows.
            names: The columns, single-hot ones first.
            tables: Their tables.
        """
        single = [name for name in names if name in self.columns.single_hot]
        ids = {}
        if single:
            ids[single[0]] = encode_categories(frame, single, tables[: len(single)])
        for name, table in zip(
            names[len(single) :], tables[len(single) :], strict=True
        ):
            ids[name] = table.ids(frame[name].alias("value").explode().drop_nulls())
        return ids

    def names_of_ids(self, groups: Sequence[Sequence[str]]) -> list[str]:
        """Return the names under which `ids` returns the ids of groups of columns."""
        return [
            name
            for names in groups
            for position, name in enumerate(names)
            if position == 0 or name in self.columns.multi_hot
        ]

    def encode(self, frame: pl.DataFrame, ids: Ids, start: int) -> EncodedPiece:
        """Send the rows of a piece to their buckets.

        Args:
            frame: Typed rows.
            ids: The ids of all their categorical columns.
            start: Number of the first row.
        """
        rows = self._rows(frame, ids)
        splits = rows.split([max(end - start, 0) for end in self.split.ends[:-1]])
        counts = [
            self.coverage.count(rows_of_split.fixed[IDS], rows_of_split.bags)
            for rows_of_split in splits
        ]
        if self.coverage.is_extended:
            forget(rows, self.coverage.features)  # the splits are parts of the rows
        ranges = self.split.ranges().values()
        starts = [max(start - row_numbers.start, 0) for row_numbers in ranges]
        return EncodedPiece(
            parts=[
                bucket.scatter(part, first_row)
                for bucket, part, first_row in zip(
                    self.buckets, splits, starts, strict=True
                )
            ],
            positives=[
                int(rows_of_split.fixed[LABEL].sum(dtype=np.int64))
                for rows_of_split in splits
            ],
            counts=counts,
        )

    def _rows(self, frame: pl.DataFrame, ids: Ids) -> EncodedRows:
        columns = self.columns
        dtype = row_type(len(columns.dense_features), len(columns.single_hot))
        rows = np.empty(frame.height, dtype)
        rows[LABEL] = frame[columns.label].to_numpy()
        if columns.dense_features:
            dense = frame.select(by_name(*columns.dense_features))
            rows[DENSE] = dense.to_numpy()
        # In whatever groups they were encoded, these are in the order of the columns.
        single = [ids[name] for name in columns.single_hot if name in ids]
        if single:
            rows[IDS] = single[0] if len(single) == 1 else np.hstack(single)
        lists = [frame[name].alias("value") for name in columns.multi_hot]
        bags = [
            Bags(ids[name], bag.list.len().cast(pl.Int32).to_numpy())
            for name, bag in zip(columns.multi_hot, lists, strict=True)
        ]
        return EncodedRows(rows, tuple(bags))


def table_groups(
    table_bytes: Mapping[str, int], budget: int
) -> tuple[tuple[str, ...], ...]:
    """Group columns so that the tables of a group fit in `budget` bytes.

    A column whose table alone takes more is a group of its own.

    Args:
        table_bytes: Size of each column's table in memory.
        budget: Memory for the tables of a group, in bytes.

    Example:

    >>> table_groups({"a": 320, "b": 320, "c": 3200, "d": 320}, 700)
    (('a', 'b'), ('c',), ('d',))
    """
    groups: list[list[str]] = [[]]
    num_bytes = 0
    for name, size in table_bytes.items():
        if groups[-1] and num_bytes + size > budget:
            groups.append([])
            num_bytes = 0
        groups[-1].append(name)
        num_bytes += size
    return tuple(tuple(group) for group in groups)
