"""The planted truth next to a raw file, and the best possible predictions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.twin.planted import LOGIT_STEP, MAX_LOGIT
from tfdlrm.base.errors import InputError
from tfdlrm.base.local_copies import local_copy
from tfdlrm.data.schema import SPLITS, FeatureSchema

TRUTH = np.dtype([("logit", "<i2"), ("label", "u1")])
"""A row's planted logit, in units of `LOGIT_STEP`, and the label drawn from it."""

_MAX_UNITS = round(MAX_LOGIT / LOGIT_STEP)
_SLICE_ROWS = 2**20


def truth_file(raw: Path) -> Path:
    """Return the path of the planted logits and labels of a raw file's rows."""
    return raw.with_name(f"{raw.name}.truth.npy")


def units(logits: np.ndarray) -> np.ndarray:
    """Return logits in whole units of `LOGIT_STEP`."""
    return np.rint(logits / LOGIT_STEP).astype(np.int16)


def count_rows(truth: np.ndarray) -> np.ndarray:
    """Count the rows of each label and logit: `(2, number of logits)`.

    Args:
        truth: Array of type `TRUTH`.
    """
    num_logits = 2 * _MAX_UNITS + 1
    cells = truth["logit"].astype(np.int64) + _MAX_UNITS
    cells += truth["label"] * np.int64(num_logits)
    return np.bincount(cells, minlength=2 * num_logits).reshape(2, num_logits)


def count_range(truths: Sequence[np.ndarray], start: int, stop: int) -> np.ndarray:
    """Count the rows from `start` up to `stop` of the joined arrays; see `count_rows`.

    Args:
        truths: Arrays of type `TRUTH`.
        start: Number of the first row.
        stop: Number of the row after the last one.
    """
    counts = count_rows(np.empty(0, TRUTH))
    for truth in truths:
        end = min(stop, len(truth))
        for slice_start in range(max(start, 0), end, _SLICE_ROWS):
            counts += count_rows(
                truth[slice_start : min(slice_start + _SLICE_ROWS, end)]
            )
        start, stop = start - len(truth), stop - len(truth)
    return counts


def best_measures(counts: np.ndarray) -> dict[str, float]:
    """Return the measures of predicting each row's planted probability.

    They are exact, since the logits have few values. No predictor has a lower log loss
    or a higher AUC in expectation; `expected_` measures average over all labels that
    could have been drawn for the same rows.

    Args:
        counts: The counts of `count_rows`, of one row or more.
    """
    logits = np.arange(-_MAX_UNITS, _MAX_UNITS + 1) * LOGIT_STEP
    rates = 1 / (1 + np.exp(-logits))
    rows = counts.sum(axis=0)
    expected = np.stack([rows * (1 - rates), rows * rates])
    measures = {}
    for prefix, counts_of_labels in (("", counts), ("expected_", expected)):
        loss = _log_loss(counts_of_labels, logits)
        measures[f"{prefix}auc"] = _auc(counts_of_labels)
        measures[f"{prefix}log_loss"] = loss
        measures[f"{prefix}normalized_entropy"] = _ratio(
            loss, _entropy(counts_of_labels)
        )
    return measures


def reachable(
    raw: Sequence[Path], schema: FeatureSchema, positives: dict[str, int]
) -> dict[str, dict[str, float]] | None:
    """Return the best possible measures of each split, if the planted truth is known.

    For a damaged truth a line is printed; the rows are good without it.

    Args:
        raw: The raw files, in order.
        schema: The schema of the data set, whose splits are cut in the order of rows.
        positives: Number of positive labels of each split.

    Returns:
        `best_measures` of each split that has rows, or `None` where the truth of a
        file is missing, is damaged or does not fit the rows.
    """
    paths = [truth_file(path) for path in raw]
    if not all(path.is_file() for path in paths):
        return None
    try:
        truths = [_load(path) for path in paths]
    except InputError as error:
        print(f"{error}: the best possible measures are not known without it")
        return None
    order = (schema.split or {}).get("rows", SPLITS)
    rows = {split: schema.num_rows(split) for split in order if schema.num_rows(split)}
    if sum(map(len, truths)) != sum(rows.values()):
        return None
    measures, start = {}, 0
    for split, num_rows in rows.items():
        counts = count_range(truths, start, start + num_rows)
        if counts[1].sum() != positives[split]:
            return None
        measures[split] = best_measures(counts)
        start += num_rows
    return measures


def _load(path: Path) -> np.ndarray:
    try:
        truth = np.load(local_copy(path), mmap_mode="r")
        logits, labels = truth["logit"], truth["label"]
        ends = [logits.min(initial=0), logits.max(initial=0), labels.max(initial=0)]
    except Exception as error:  # NumPy raises many kinds for a damaged header
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is not a planted truth ({reason})") from None
    is_within = ends[0] >= -_MAX_UNITS and ends[1] <= _MAX_UNITS and ends[2] <= 1
    if truth.dtype != TRUTH or truth.ndim != 1 or not is_within:
        raise InputError(f"{path} is not a planted truth (it holds something else)")
    return truth


def _auc(counts: np.ndarray) -> float:
    negatives, positives = counts
    below = np.cumsum(negatives) - negatives
    wins = positives @ (below + negatives / 2)
    return _ratio(float(wins), float(positives.sum()) * float(negatives.sum()))


def _log_loss(counts: np.ndarray, logits: np.ndarray) -> float:
    negatives, positives = counts
    losses = negatives @ np.logaddexp(0, logits) + positives @ np.logaddexp(0, -logits)
    return float(losses / counts.sum())


def _entropy(counts: np.ndarray) -> float:
    shares = counts.sum(axis=1) / counts.sum()
    return float(-sum(share * np.log(share) for share in shares if share))


def _ratio(value: float, of: float) -> float:
    return value / of if of else float("nan")
