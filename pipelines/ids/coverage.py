"""The share of each split's values that have an id, feature by feature."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
        num_new: Number of values that had no id before, if something is extended.
        num_forgotten: Number of values that have lost their id, likewise.
    """

    name: str
    num_ids: int
    num_kept: int | None
    num_distinct: int | None
    unknown_id: int | None
    missing_id: int | None
    num_new: int | None = None
    num_forgotten: int | None = None


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
        unknown_before: The share of rows whose value had no id of its own in what the
            data set extends; empty if it extends nothing.
        new: Number of values that had no id in what the data set extends.
        forgotten: Number of values that had an id there, and have none now.
    """

    name: str
    distinct: int | None
    kept: int | None
    coverage: dict[str, float]
    unknown: dict[str, float]
    missing: dict[str, float]
    unknown_before: dict[str, float] = field(default_factory=dict)
    new: int | None = None
    forgotten: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the same in types of JSON, without what only an extension has."""
        fields = asdict(self)
        if self.new is None:
            for name in ("unknown_before", "new", "forgotten"):
                del fields[name]
        return fields


class Coverage:
    """Counts of unknown and missing values, added up piece by piece.

    Args:
        features: The categorical columns.
        new_ids: If the data set extends another, for each column which ids belong to
            values that had none there. Ids beyond these belong to values that had one
            there, and have none now.

    Example:

    >>> feature = CountedFeature("C1", 4, 2, 3, unknown_id=0, missing_id=1)
    >>> coverage = Coverage([feature])
    >>> coverage.add("test", coverage.count(np.array([[0], [2], [3], [1]])))
    >>> coverage.of_features()[0].coverage
    {'test': 0.5}
    """

    def __init__(
        self,
        features: Sequence[CountedFeature],
        new_ids: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.features = tuple(features)
        self._new_ids = new_ids
        self._unknown_ids = self._ids(feature.unknown_id for feature in features)
        self._missing_ids = self._ids(feature.missing_id for feature in features)
        self._counts = {split: self.no_counts() for split in SPLITS}

    def empty(self) -> "Coverage":
        """Return a coverage of the same columns into which nothing was counted."""
        return Coverage(self.features, self._new_ids)

    def no_counts(self) -> np.ndarray:
        """Return what `count` returns for no rows."""
        return np.zeros((4, len(self.features)), np.int64)

    @property
    def is_extended(self) -> bool:
        """Whether the data set extends another."""
        return self._new_ids is not None

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
            int64 array `(4, features)`, for `add`.
        """
        counts = self.no_counts()
        width = ids.shape[1]
        counts[0, :width] = len(ids)
        counts[1, :width] = np.count_nonzero(ids == self._unknown_ids[:width], axis=0)
        counts[2, :width] = np.count_nonzero(ids == self._missing_ids[:width], axis=0)
        for column, bag in enumerate(bags, start=width):
            num_empty = np.count_nonzero(bag.lengths == 0)
            num_unknown = np.count_nonzero(bag.values == self._unknown_ids[column])
            counts[:3, column] = len(bag.values) + num_empty, num_unknown, num_empty
        if self._new_ids is not None:
            columns = [*ids.T, *(bag.values for bag in bags)]
            for column, values in enumerate(columns):
                num_new, num_lost = self._count_changes(column, values)
                counts[3, column] = counts[1, column] + num_new
                counts[1, column] += num_lost
        return counts

    def _count_changes(self, column: int, ids: np.ndarray) -> tuple[int, int]:
        """Return how many ids are of values without one before, or without one now."""
        assert self._new_ids is not None
        is_new = self._new_ids[self.features[column].name]
        if not len(is_new):  # no vocabulary
            return 0, 0
        is_lost = ids >= len(is_new)
        num_new = np.count_nonzero(is_new[np.where(is_lost, 0, ids)])
        # Id 0 stands for the lost ones, and may be new itself.
        num_lost = np.count_nonzero(is_lost)
        return num_new - int(is_new[0]) * num_lost, num_lost

    def add(self, split: str, counts: np.ndarray) -> None:
        """Add the counts that `count` returned for rows of `split`."""
        self._counts[split] += counts

    def to_json(self) -> dict[str, list[list[int]]]:
        """Return the counts so far, for `restore`."""
        return {split: counts.tolist() for split, counts in self._counts.items()}

    def restore(self, counts: dict[str, list[list[int]]]) -> None:
        """Continue from the counts that `to_json` returned."""
        self._counts = {
            split: np.array(rows, np.int64).reshape(4, len(self.features))
            for split, rows in counts.items()
        }

    def of_features(self) -> list[FeatureCoverage]:
        """Return the coverage of each column."""
        return [
            FeatureCoverage(
                feature.name,
                feature.num_distinct,
                feature.num_kept,
                coverage=self._shares(number, np.array([1, -1, -1, 0])),
                unknown=self._shares(number, np.array([0, 1, 0, 0])),
                missing=self._shares(number, np.array([0, 0, 1, 0])),
                unknown_before=(
                    {}
                    if self._new_ids is None
                    else self._shares(number, np.array([0, 0, 0, 1]))
                ),
                new=feature.num_new,
                forgotten=feature.num_forgotten,
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
