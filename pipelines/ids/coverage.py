"""How much of each split the ids of a data set cover, feature by feature."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.ids.encoded_rows import Bags
from tfdlrm.data.schema import SPLITS


@dataclass(frozen=True)
class CountedFeature:
    """What counting found out about a categorical column.

    Args:
        name: The column.
        num_ids: Number of ids.
        num_kept: Number of values that have an id of their own; `None` without
            counting.
        num_distinct: Number of different values in the rows that were counted; `None`
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
        distinct: Number of different values in the rows that were counted.
        kept: Number of these that have an id of their own.
        coverage: For each split with rows, the share of them whose value has an id of
            its own (in the hash dialect: is not missing).
        unknown: The share whose value has none.
        missing: The share without a value; in the facebook dialect this includes the
            value 0, which shares the id.
    """

    name: str
    distinct: int | None
    kept: int | None
    coverage: dict[str, float]
    unknown: dict[str, float]
    missing: dict[str, float]


class Coverage:
    """Counts of unknown and missing values, added to piece by piece.

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
        self._unknown_ids = self._ids(each.unknown_id for each in features)
        self._missing_ids = self._ids(each.missing_id for each in features)
        self._counts = {
            split: np.zeros((3, len(self.features)), np.int64) for split in SPLITS
        }

    @staticmethod
    def _ids(ids: Any) -> np.ndarray:
        """Ids to compare with, where -1 is none."""
        return np.array([-1 if each is None else each for each in ids], np.int32)

    def count(self, ids: np.ndarray, bags: Sequence[Bags] = ()) -> np.ndarray:
        """Values, unknown and missing ones of each column; any thread may do this.

        Args:
            ids: int32 array `(rows, features)` of single-hot columns.
            bags: The ids of multi-hot columns, which follow them; an empty bag counts
                as a missing value.

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
        """Add what `count` found in rows of `split`."""
        self._counts[split] += counts

    def to_json(self) -> dict[str, list[list[int]]]:
        """The counts so far, which `restore` takes back."""
        return {split: counts.tolist() for split, counts in self._counts.items()}

    def restore(self, counts: dict[str, list[list[int]]]) -> None:
        """Go on from what `to_json` gave."""
        self._counts = {
            split: np.array(each, np.int64).reshape(3, len(self.features))
            for split, each in counts.items()
        }

    def of_features(self) -> list[FeatureCoverage]:
        """The coverage of each column."""
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
        columns = {split: each[:, number] for split, each in self._counts.items()}
        return {
            split: float(weights @ column / column[0])
            for split, column in columns.items()
            if column[0]
        }
