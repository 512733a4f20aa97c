"""Predictions over a whole split, and their measures."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import tensorflow as tf

from tfdlrm.metrics import BinaryMetrics, binary_metrics

EVALUATION_BATCH_SIZE = 8192
"""Rows scored at once where nothing is learned from them."""


def evaluate(
    score: Callable[[dict[str, Any]], tf.Tensor], batches: tf.data.Dataset
) -> BinaryMetrics:
    """Measures of the probabilities that `score` gives to every batch.

    Args:
        score: From features to probabilities `(batch, 1)`.
        batches: As `tfdlrm.data.read_split` gives them.
    """
    labels, probabilities = [], []
    for features, label in batches:
        probabilities.append(score(features).numpy().ravel())
        labels.append(label.numpy().ravel())
    return binary_metrics(np.concatenate(labels), np.concatenate(probabilities))


def as_json(metrics: dict[str, BinaryMetrics]) -> str:
    """The measures of each split as a JSON object, by name."""
    values = {split: asdict(value) for split, value in metrics.items()}
    return json.dumps(values, indent=2) + "\n"


def as_table(metrics: dict[str, BinaryMetrics]) -> str:
    """A Markdown table with a line a split.

    Example:

    >>> perfect = binary_metrics(np.array([0, 1]), np.array([0.1, 0.9]))
    >>> print(as_table({"test": perfect}))
    | split | rows | base rate | accuracy | AUC | log loss | norm. entropy | calibration |
    |---|---:|---:|---:|---:|---:|---:|---:|
    | test | 2 | 0.5000 | 1.0000 | 1.0000 | 0.1054 | 0.1520 | 1.0000 |
    """  # noqa: E501
    lines = [
        "| split | rows | base rate | accuracy | AUC | log loss | norm. entropy "
        "| calibration |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for split, values in metrics.items():
        rows, *measures = asdict(values).values()
        cells = [split, f"{rows:,}", *(f"{measure:.4f}" for measure in measures)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
