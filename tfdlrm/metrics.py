"""Exact measures of predicted click probabilities, computed in float64."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BinaryMetrics:
    """How good the predicted probabilities of a split are.

    Args:
        rows: Number of rows.
        base_rate: Share of positive labels.
        accuracy: Share of rows whose probability is on the label's side of 0.5.
        auc: Area under the ROC curve.
        log_loss: Mean cross entropy, in nats.
        normalized_entropy: Log loss over that of always predicting the base rate;
            below 1 is better than knowing nothing else.
        calibration: Mean predicted probability over the base rate; 1 is best.
    """

    rows: int
    base_rate: float
    accuracy: float
    auc: float
    log_loss: float
    normalized_entropy: float
    calibration: float


def binary_metrics(labels: np.ndarray, probabilities: np.ndarray) -> BinaryMetrics:
    """All measures of one set of predictions.

    A measure that the labels leave undefined (the AUC where all are alike) is NaN.

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
        )


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve by sorting: a tie counts one half.

    Example:

    >>> auc(np.array([0, 1, 1]), np.array([0.2, 0.2, 0.9]))
    0.75

    Reference:
        [Fawcett, 2006](https://doi.org/10.1016/j.patrec.2005.10.010), section 7: it is
        the probability that a positive row scores above a negative one.
    """
    order = np.argsort(scores)
    scores, positive = scores[order], labels[order] > 0.5
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    positives = np.cumsum(positive)[ends]  # up to and with each distinct score
    negatives = ends + 1 - positives
    if not positives[-1] or not negatives[-1]:
        return float("nan")
    here = np.diff(positives, prepend=0)  # positives at each distinct score
    below = np.concatenate([[0], negatives[:-1]])
    wins = here * (below + negatives) / 2
    return float(wins.sum() / (float(positives[-1]) * float(negatives[-1])))


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean cross entropy in nats.

    Probabilities come from float32, whose rounding makes 1 of what is nearly 1; they
    are kept one such rounding step away from 0 and 1, so that the loss is finite.

    Example:

    >>> round(log_loss(np.array([0.0, 1.0]), np.array([0.5, 0.5])), 4)
    0.6931
    """
    step = float(np.finfo(np.float32).eps)
    probabilities = np.clip(probabilities, step, 1 - step)
    right = np.where(labels > 0.5, probabilities, 1.0 - probabilities)
    return float(-np.log(right).mean())


def _entropy(rate: float) -> float:
    return -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
