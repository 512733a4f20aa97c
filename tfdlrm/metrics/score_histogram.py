"""Scores of a split in bins, from which all curves about them are drawn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

RESOLUTION = 1024
"""A bin of several scores has at most this part of each class and of [0, 1]."""


@dataclass(frozen=True)
class ScoreHistogram:
    """Rows of both classes in bins of ascending scores.

    A bin has at most 1/1024 of the positive rows, 1/1024 of the negative ones, and
    scores that differ by 1/1024, or else one single score. So all curves are exact at
    the ends of bins, and less than 0.001 from the exact ones between them.

    Args:
        highest: The highest score of each bin, in ascending order.
        positives: Rows of each bin with label 1.
        negatives: Rows of each bin with label 0.
    """

    highest: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, probabilities: np.ndarray) -> "ScoreHistogram":
        """Return the bins of some rows.

        Args:
            labels: Shape `(rows,)`, 0 or 1.
            probabilities: Shape `(rows,)`.

        Raises:
            ValueError: If there are no rows, or the shapes differ.

        Example:

        >>> histogram = ScoreHistogram.of([0, 1, 1], [0.25, 0.25, 0.75])
        >>> histogram.positives.tolist(), histogram.negatives.tolist()
        ([1, 1], [1, 0])
        """
        labels = np.asarray(labels).ravel()
        scores = np.asarray(probabilities, np.float64).ravel()
        if labels.shape != scores.shape or not labels.size:
            raise ValueError(
                f"Got {labels.size} labels and {scores.size} probabilities: expected "
                "the same number, at least one."
            )
        order = np.argsort(scores)
        scores, is_positive = scores[order], labels[order] > 0.5
        last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
        positives = np.cumsum(is_positive)[last]
        negatives = last + 1 - positives
        ends = _ends_of_bins(scores[last], positives, negatives)
        return cls(
            highest=scores[last][ends],
            positives=np.diff(positives[ends], prepend=0),
            negatives=np.diff(negatives[ends], prepend=0),
        )

    @property
    def has_one_class(self) -> bool:
        """Return whether all labels are equal, which leaves some curves undefined."""
        return not (self.positives.any() and self.negatives.any())

    def roc(self) -> tuple[np.ndarray, np.ndarray]:
        """Return false and true positive rates at falling thresholds, from 0 to 1.

        They are NaN if all labels are equal.

        Example:

        >>> ScoreHistogram.of([0, 1, 1], [0.25, 0.25, 0.75]).roc()
        (array([0., 0., 1.]), array([0. , 0.5, 1. ]))
        """
        return _shares_above(self.negatives), _shares_above(self.positives)

    def precision_recall(self) -> tuple[np.ndarray, np.ndarray]:
        """Return recall and precision at falling thresholds.

        The first point repeats the precision at the highest threshold for a recall of
        0. The recall is NaN without any positive row.

        Example:

        >>> ScoreHistogram.of([0, 1, 1], [0.25, 0.25, 0.75]).precision_recall()
        (array([0. , 0.5, 1. ]), array([1.        , 1.        , 0.66666667]))
        """
        clicks = np.cumsum(self.positives[::-1])
        precision = clicks / np.cumsum(self._rows[::-1])
        return _shares_above(self.positives), np.append(precision[0], precision)

    def gain(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the share of all rows and that of positive rows above each threshold.

        Example:

        >>> ScoreHistogram.of([0, 1, 0, 1], [0.25, 0.5, 0.5, 0.75]).gain()
        (array([0.  , 0.25, 0.75, 1.  ]), array([0. , 0.5, 1. , 1. ]))
        """
        return _shares_above(self._rows), _shares_above(self.positives)

    def quantiles(self, number: int) -> np.ndarray:
        """Return scores that equal shares of the rows do not exceed, lowest first.

        Args:
            number: How many, at least 2; the last one is the highest score.

        Example:

        >>> ScoreHistogram.of([0, 1, 1], [0.25, 0.5, 0.75]).quantiles(3)
        array([0.25, 0.5 , 0.75])
        """
        rows = np.cumsum(self._rows)
        ranks = np.linspace(0, rows[-1], number)
        return self.highest[np.searchsorted(rows, ranks)]

    def to_json(self) -> dict[str, list[Any]]:
        """Return the bins as plain values."""
        return {
            "highest": self.highest.tolist(),
            "positives": self.positives.tolist(),
            "negatives": self.negatives.tolist(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ScoreHistogram":
        """Return the bins that `to_json` described.

        Example:

        >>> values = ScoreHistogram.of([0, 1], [0.25, 0.75]).to_json()
        >>> ScoreHistogram.from_json(values).highest
        array([0.25, 0.75])
        """
        return cls(
            highest=np.asarray(values["highest"], np.float64),
            positives=np.asarray(values["positives"], np.int64),
            negatives=np.asarray(values["negatives"], np.int64),
        )

    @property
    def _rows(self) -> np.ndarray:
        return self.positives + self.negatives


def _ends_of_bins(
    scores: np.ndarray, positives: np.ndarray, negatives: np.ndarray
) -> np.ndarray:
    """Return the index of the last score of each bin.

    Args:
        scores: The distinct scores, in ascending order.
        positives: Positive rows up to each score.
        negatives: Negative rows up to each score.
    """
    ends: list[int] = []
    start = 0
    # Whole numbers: NumPy would convert the whole array to search it for a fraction.
    most_positives, most_negatives = (
        positives[-1] // RESOLUTION,
        negatives[-1] // RESOLUTION,
    )
    while start < scores.size:
        clicks, others = (
            (positives[start - 1], negatives[start - 1]) if start else (0, 0)
        )
        stop = min(
            np.searchsorted(positives, clicks + most_positives, side="right"),
            np.searchsorted(negatives, others + most_negatives, side="right"),
            np.searchsorted(scores, scores[start] + 1 / RESOLUTION, side="right"),
        )
        start = max(start + 1, int(stop))  # one score is never divided
        ends.append(start - 1)
    return np.array(ends)


def _shares_above(rows: np.ndarray) -> np.ndarray:
    """Return the share of rows above each threshold, from the highest bin on."""
    with np.errstate(invalid="ignore"):
        return np.append(0, np.cumsum(rows[::-1])) / rows.sum()
