"""Exact measures of predicted click probabilities, computed in float64."""

import math
from dataclasses import dataclass

import numpy as np

CALIBRATION_BINS = 20
"""Bins of the expected calibration error and of the reliability plot."""


@dataclass(frozen=True)
class BinaryMetrics:
    """Measures of the predicted probabilities of a split.

    Args:
        rows: Number of rows.
        base_rate: Share of positive labels.
        accuracy: Share of rows whose probability is on the same side of 0.5 as the
            label.
        auc: Area under the ROC curve.
        log_loss: Mean cross entropy, in nats.
        normalized_entropy: Log loss divided by the log loss of always predicting the
            base rate; below 1 is better than that.
        calibration: Mean predicted probability divided by the base rate; 1 is best.
        expected_calibration_error: See `expected_calibration_error`; 0 is best.
    """

    rows: int
    base_rate: float
    accuracy: float
    auc: float
    log_loss: float
    normalized_entropy: float
    calibration: float
    expected_calibration_error: float

    @property
    def has_one_class(self) -> bool:
        """Return whether all labels are equal, which leaves the AUC undefined."""
        return self.base_rate in (0, 1)


@dataclass(frozen=True)
class Reliability:
    """Predicted and observed rates of rows in bins by predicted probability.

    Args:
        rows: Rows of each bin.
        predicted: Mean predicted probability of each bin, in ascending order.
        observed: Share of positive labels of each bin.
    """

    rows: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray


def measure_text(value: float, spec: str = ".4f") -> str:
    """Return a measure as text, `undefined` if it is not finite.

    Example:

    >>> measure_text(0.75), measure_text(float("nan"))
    ('0.7500', 'undefined')
    """
    return format(value, spec) if math.isfinite(value) else "undefined"


def binary_metrics(labels: np.ndarray, probabilities: np.ndarray) -> BinaryMetrics:
    """Return all measures of one set of predictions.

    A measure that the labels leave undefined, such as the AUC of equal labels, is NaN.

    Args:
        labels: Shape `(rows,)`, 0 or 1.
        probabilities: Shape `(rows,)`.

    Raises:
        ValueError: If there are no rows, or the shapes differ.

    Reference:
        Normalized entropy: [He et al., 2014](https://doi.org/10.1145/2648584.2648589),
        section 2.
    """
    labels = np.asarray(labels, np.float64).ravel()
    probabilities = np.asarray(probabilities, np.float64).ravel()
    if labels.shape != probabilities.shape or not labels.size:
        raise ValueError(
            f"Got {labels.size} labels and {probabilities.size} probabilities: "
            "expected the same number, at least one."
        )
    base_rate = labels.mean()
    loss = log_loss(labels, probabilities)
    with np.errstate(divide="ignore", invalid="ignore"):
        return BinaryMetrics(
            rows=labels.size,
            base_rate=float(base_rate),
            accuracy=float(np.mean((probabilities > 0.5) == (labels > 0.5))),
            auc=auc(labels, probabilities),
            log_loss=loss,
            normalized_entropy=float(loss / _entropy(base_rate)),
            calibration=float(probabilities.mean() / base_rate),
            expected_calibration_error=expected_calibration_error(
                reliability(labels, probabilities)
            ),
        )


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve, by sorting; a tie counts one half.

    Example:

    >>> auc(np.array([0, 1, 1]), np.array([0.2, 0.2, 0.9]))
    0.75

    Reference:
        [Fawcett, 2006](https://doi.org/10.1016/j.patrec.2005.10.010), section 7: the
        probability that a positive row scores above a negative one.
    """
    order = np.argsort(scores)
    scores, positive = scores[order], labels[order] > 0.5
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    positives = np.cumsum(positive)[ends]  # with a score up to each distinct one
    negatives = ends + 1 - positives
    if not positives[-1] or not negatives[-1]:
        return float("nan")
    ties = np.diff(positives, prepend=0)  # positives at each distinct score
    negatives_below = np.concatenate([[0], negatives[:-1]])
    wins = ties * (negatives_below + negatives) / 2
    return float(wins.sum() / (float(positives[-1]) * float(negatives[-1])))


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean cross entropy in nats.

    Probabilities come from float32, which rounds numbers near 1 to 1; they are clipped
    one such rounding step away from 0 and 1, so that the loss is finite.

    Example:

    >>> round(log_loss(np.array([0.0, 1.0]), np.array([0.5, 0.5])), 4)
    0.6931
    """
    step = float(np.finfo(np.float32).eps)
    probabilities = np.clip(probabilities, step, 1 - step)
    likelihoods = np.where(labels > 0.5, probabilities, 1.0 - probabilities)
    return float(-np.log(likelihoods).mean())


def reliability(
    labels: np.ndarray, probabilities: np.ndarray, num_bins: int = CALIBRATION_BINS
) -> Reliability:
    """Return rows in bins of equal mass, with about the same number of rows in each.

    Click probabilities crowd near 0, so that bins of equal width would put nearly all
    rows into the first. Rows of the same probability stay in one bin, so that there may
    be fewer bins.

    Args:
        labels: Shape `(rows,)`, 0 or 1.
        probabilities: Shape `(rows,)`.
        num_bins: Largest number of bins.

    Example:

    >>> labels = np.array([0, 1, 1, 1])
    >>> bins = reliability(labels, np.array([0.2, 0.2, 0.7, 0.9]), num_bins=2)
    >>> bins.rows.tolist(), bins.observed.tolist()
    ([2, 2], [0.5, 1.0])

    Reference:
        [Nixon et al., 2019](https://arxiv.org/abs/1904.01685), section 4.3.
    """
    order = np.argsort(probabilities)
    labels = np.asarray(labels, np.float64)[order]
    probabilities = np.asarray(probabilities, np.float64)[order]
    marks = np.arange(1, num_bins + 1) * labels.size // num_bins - 1
    highest = probabilities[marks[marks >= 0]]  # the greatest probability of each bin
    ends = np.unique(np.searchsorted(probabilities, highest, side="right"))
    starts = np.concatenate([[0], ends[:-1]])
    rows = ends - starts
    return Reliability(
        rows=rows,
        predicted=np.add.reduceat(probabilities, starts) / rows,
        observed=np.add.reduceat(labels, starts) / rows,
    )


def expected_calibration_error(bins: Reliability) -> float:
    """Return the mean distance, over rows, of predicted and observed rates of bins.

    It is the sum over bins of `rows / all rows * |predicted - observed|`. Even a
    perfect model has a small error by chance: about
    `sqrt(2 rate (1 - rate) / (pi rows))` for a bin of `rows` rows.

    Example:

    >>> bins = reliability(np.array([0, 1, 1, 1]), np.array([0.2, 0.2, 0.7, 0.9]), 2)
    >>> round(expected_calibration_error(bins), 4)  # (|0.2 - 0.5| + |0.8 - 1|) / 2
    0.25

    Reference:
        [Naeini et al., 2015](https://doi.org/10.1609/aaai.v29i1.9602), with bins of
        equal mass.
    """
    gaps = np.abs(bins.predicted - bins.observed)
    return float(np.average(gaps, weights=bins.rows))


def _entropy(rate: float) -> float:
    return -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
