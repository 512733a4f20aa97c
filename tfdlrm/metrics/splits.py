"""Predictions over a whole split, and their measures."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdlrm.data.reading import damage_named, read_split
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.metrics.binary import BinaryMetrics, binary_metrics, measure_text

EVALUATION_BATCH_SIZE = 8192
"""Rows scored at once, without training."""


def score_all(
    score: Callable[[dict[str, Any]], tf.Tensor], batches: tf.data.Dataset
) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels and the probabilities of all batches.

    Args:
        score: Function from features to probabilities `(batch, 1)`.
        batches: Batches of `tfdlrm.data.read_split`.

    Returns:
        Two arrays of shape `(rows,)`.
    """
    labels, probabilities = [], []
    for features, label in batches:
        probabilities.append(score(features).numpy().ravel())
        labels.append(label.numpy().ravel())
    return np.concatenate(labels), np.concatenate(probabilities)


def score_splits(
    score: Callable[[dict[str, Any]], tf.Tensor],
    data_dir: Path,
    schema: FeatureSchema,
    splits: Sequence[str] | None = None,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return labels and probabilities by split; see `score_all`.

    Args:
        score: Function from features to probabilities `(batch, 1)`.
        data_dir: Directory of the data set.
        schema: Schema of the data set.
        splits: Names of the splits; `None` means those held out from training.

    Raises:
        InputError: If a record is damaged.
    """
    with damage_named(data_dir, schema):
        return {
            split: score_all(
                score, read_split(data_dir, schema, split, EVALUATION_BATCH_SIZE)
            )
            for split in splits or schema.held_out_splits
        }


def evaluate(
    score: Callable[[dict[str, Any]], tf.Tensor], batches: tf.data.Dataset
) -> BinaryMetrics:
    """Return the measures of the probabilities of all batches; see `score_all`."""
    return binary_metrics(*score_all(score, batches))


def measures_by_split(
    metrics: dict[str, BinaryMetrics], dialect: str
) -> dict[str, dict[str, Any]]:
    """Return the dialect and the measures of each split, by its name."""
    return {
        split: {"dialect": dialect, **asdict(value)} for split, value in metrics.items()
    }


def as_table(metrics: dict[str, BinaryMetrics]) -> str:
    """Return a Markdown table with a line for each split.

    Example:

    >>> perfect = binary_metrics(np.array([0, 1]), np.array([0.1, 0.9]))
    >>> print(as_table({"test": perfect}))
    | split | rows | base rate | accuracy | AUC | log loss | norm. entropy | calibration | ECE |
    |---|---:|---:|---:|---:|---:|---:|---:|---:|
    | test | 2 | 0.5000 | 1.0000 | 1.0000 | 0.1054 | 0.1520 | 1.0000 | 0.1000 |
    """  # noqa: E501
    lines = [
        "| split | rows | base rate | accuracy | AUC | log loss | norm. entropy "
        "| calibration | ECE |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for split, values in metrics.items():
        rows, *measures = asdict(values).values()
        cells = [split, f"{rows:,}", *map(measure_text, measures)]
        lines.append(f"| {' | '.join(cells)} |")
    notes = [
        _note_on_one_class(split, values)
        for split, values in metrics.items()
        if values.has_one_class
    ]
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _note_on_one_class(split: str, values: BinaryMetrics) -> str:
    return (
        f"All {values.rows:,} {split} rows have label {values.base_rate:.0f}: of one "
        "class the AUC, and what is measured against the base rate, are undefined."
    )


def against_reachable(
    metrics: dict[str, BinaryMetrics], reachable: dict[str, dict[str, float]]
) -> str:
    """Return a line for each split with its measures and the best reachable ones.

    Args:
        metrics: Measures of each split.
        reachable: `reachable` of the schema.

    Example:

    >>> half = binary_metrics(np.array([0, 1]), np.array([0.5, 0.5]))
    >>> print(against_reachable({"test": half}, {"test": {"auc": 1, "log_loss": 0}}))
    test: AUC 0.5000 of 1.0000 reachable, log loss 0.6931 of 0.0000
    """
    return "\n".join(
        f"{split}: AUC {measure_text(values.auc)} of "
        f"{measure_text(reachable[split]['auc'])} reachable, "
        f"log loss {values.log_loss:.4f} of {reachable[split]['log_loss']:.4f}"
        for split, values in metrics.items()
        if split in reachable
    )
