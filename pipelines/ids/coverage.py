"""The share of each split's values that have an id, feature by feature."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.ids.encoded_rows import Bags
from tfdlrm.data.schema import SPLITS


@dataclass(frozen=True)
class CountedFeature:
    """The number of ids of a categorical column, and its special ids.

    Args:
        name: The column.
        num_ids: Number of ids.
        num_kept: Number of values that have an id of their own; `None` without
            counting.
        num_distinct: Number of distinct values in the rows that were counted; `None`
            without counting.
        unknown_id: Id of values without one of their own, if there is such an id.
        missing_id: Id of missing values, if there is such an id.
    """

    name: str
    num_ids: int
    num_kept: int | None
    num_distinct: int | None
    unknown_id: int | None
    missing_id: int | None


@dataclass(frozen=True)
class FeatureCoverage:
    """The coverage of one column.

    Args:
        name: The column.
        distinct: Number of distinct values in the rows that were counted.
        kept: Number of values that have an id of their own.
        coverage: For each split with rows, the share of rows whose value has an id of
            its own (in the hash dialect: is not missing).
        unknown: The share of rows whose value has no id of its own.
        missing: The share of rows without a value; in the facebook dialect this
            includes the value 0, which shares the id.
    """

    name: str
    distinct: int | None
    kept: int | None
    coverage: dict[str, float]
    unknown: dict[str, float]
    missing: dict[str, float]


class Coverage:
    """Counts of unknown and missing values, added up piece by piece.

    Args:
        features: The categorical columns.

    Example:

    >>> feature = CountedFeature("C1", 4, 2, 3, unknown_id=0, missing_id=1)
    >>> coverage = Coverage([feature])
    >>> coverage.add("test", coverage.count(np.array([[0], [2], [3], [1]])))
    >>> coverage.of_features()[0].coverage
    {'test': 0.5}
    """

    def __init__(self, features: Sequence[CountedFeature]) -> None:
        self.features = tuple(features)
        self._unknown_ids = self._ids(feature.unknown_id for feature in features)
        self._missing_ids = self._ids(feature.missing_id for feature in features)
        self._counts = {
            split: np.zeros((3, len(self.features)), np.int64) for split in SPLITS
        }

    @staticmethod
    def _ids(ids: Any) -> np.ndarray:
        """Return the ids to compare with; -1 stands for none."""
        return np.array([-1 if id_ is None else id_ for id_ in ids], np.int32)

    def count(self, ids: np.ndarray, bags: Sequence[Bags] = ()) -> np.ndarray:
        """Count the values of each column, the unknown and the missing ones.

        It changes nothing, so that any thread may call it.

        Args:
            ids: int32 array `(rows, features)` of single-hot columns.
            bags: The ids of multi-hot columns, which follow the single-hot ones; an
                empty bag counts as a missing value.

        Returns:
            int64 array `(3, features)`, for `add`.
        """
        counts = np.empty((3, len(self.features)), np.int64)
        width = ids.shape[1]
        counts[0, :width] = len(ids)
        counts[1, :width] = np.count_nonzero(ids == self._unknown_ids[:width], axis=0)
        counts[2, :width] = np.count_nonzero(ids == self._missing_ids[:width], axis=0)
        for column, bag in enumerate(bags, start=width):
            num_empty = np.count_nonzero(bag.lengths == 0)
            num_unknown = np.count_nonzero(bag.values == self._unknown_ids[column])
            counts[:, column] = len(bag.values) + num_empty, num_unknown, num_empty
        return counts

    def add(self, split: str, counts: np.ndarray) -> None:
        """Add the counts that `count` returned for rows of `split`."""
        self._counts[split] += counts

    def to_json(self) -> dict[str, list[list[int]]]:
        """Return the counts so far, for `restore`."""
        return {split: counts.tolist() for split, counts in self._counts.items()}

    def restore(self, counts: dict[str, list[list[int]]]) -> None:
        """Continue from the counts that `to_json` returned."""
        self._counts = {
            split: np.array(rows, np.int64).reshape(3, len(self.features))
            for split, rows in counts.items()
        }

    def of_features(self) -> list[FeatureCoverage]:
        """Return the coverage of each column."""
        return [
            FeatureCoverage(
                feature.name,
                feature.num_distinct,
                feature.num_kept,
                coverage=self._shares(number, np.array([1, -1, -1])),
                unknown=self._shares(number, np.array([0, 1, 0])),
                missing=self._shares(number, np.array([0, 0, 1])),
            )
            for number, feature in enumerate(self.features)
        ]

    def _shares(self, number: int, weights: np.ndarray) -> dict[str, float]:
        columns = {split: values[:, number] for split, values in self._counts.items()}
        return {
            split: float(weights @ column / column[0])
            for split, column in columns.items()
            if column[0]
        }
