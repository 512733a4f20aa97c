"""The lead in AUC of one model over another, and how far chance moves it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Lead:
    """A difference of two AUCs on the same rows.

    Args:
        difference: The AUC of the first model minus that of the second.
        error: Its standard error over samples of as many rows.
    """

    difference: float
    error: float

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of its 95% interval."""
        width = 1.96 * self.error
        return self.difference - width, self.difference + width

    @property
    def is_clear(self) -> bool:
        """Whether chance in the rows hardly explains that it is above 0."""
        return self.interval[0] > 0

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.difference:.4f}, 95% interval {low:.4f} to {high:.4f}"


def auc_lead(
    labels: np.ndarray, first: Sequence[np.ndarray], second: Sequence[np.ndarray]
) -> Lead:
    """Return the difference of the mean AUCs of two groups of models on the same rows.

    Args:
        labels: Shape `(rows,)`, 0 or 1; both occur. If one of them occurs once, the
            error is infinite.
        first: Scores `(rows,)` of each model of a group, such as one a seed.
        second: Scores of the models of the other group.

    Example:

    >>> labels = np.array([0, 0, 1, 1])
    >>> scores = np.array([0.1, 0.4, 0.4, 0.9])
    >>> auc_lead(labels, [scores], [scores])
    Lead(difference=0.0, error=0.0)

    Reference:
        [DeLong et al., 1988](https://doi.org/10.2307/2531595), for the contrast of the
        two means; computed from ranks as in
        [Sun and Xu, 2014](https://doi.org/10.1109/LSP.2014.2337313).
    """
    is_positive = np.asarray(labels) > 0.5
    groups = [
        [_placements(is_positive, np.asarray(scores)) for scores in group]
        for group in (first, second)
    ]
    # Of the positive rows, then of the negative ones: by how much a row's share of
    # pairs in the right order differs between the groups.
    gaps = [
        np.mean([placements[part] for placements in groups[0]], axis=0)
        - np.mean([placements[part] for placements in groups[1]], axis=0)
        for part in range(2)
    ]
    variance = sum(
        float(gap.var(ddof=1)) / len(gap) if len(gap) > 1 else math.inf for gap in gaps
    )
    return Lead(float(gaps[0].mean()), math.sqrt(variance))


def _placements(
    is_positive: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of rows of the other label on the right side of each row.

    A tie counts one half. The mean over the rows of either label is the AUC.
    """
    positive, negative = scores[is_positive], scores[~is_positive]
    below = _share_below(np.sort(negative), positive)
    return below, 1 - _share_below(np.sort(positive), negative)


def _share_below(others: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return for each score the share of sorted others below; ties count one half."""
    ranks = np.searchsorted(others, scores, "left").astype(np.float64)
    ranks += np.searchsorted(others, scores, "right")
    return ranks / (2 * len(others))
