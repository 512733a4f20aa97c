"""The measures of the baselines, next to those of a model on the same rows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tfdlrm.base.plain_text import markdown, visible
from tfdlrm.baselines.fitted import BASE_RATE, Baselines
from tfdlrm.data.reading import damage_named, read_split
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.metrics.binary import BinaryMetrics, binary_metrics, measure_text
from tfdlrm.metrics.splits import EVALUATION_BATCH_SIZE

Measures = dict[str, dict[str, BinaryMetrics]]
"""Measures by split and baseline."""

ADVICE = (
    "Try fewer parameters (--model.embedding_dim, --model.top_mlp_units), smaller "
    "initial vectors (--model.initial_bound 0.01), a higher --prepare.min_frequency, "
    "--model.embedding_l2, or --early_stopping with more epochs."
)


def measure_baselines(
    baselines: Baselines,
    data_dir: Path,
    schema: FeatureSchema,
    splits: Sequence[str] | None = None,
) -> Measures:
    """Return the measures of each baseline on each split.

    Args:
        baselines: The baselines.
        data_dir: Directory of the data set.
        schema: Schema of the data set.
        splits: Names of the splits; `None` means those held out from training.

    Raises:
        InputError: If a record is damaged.
    """
    measures = {}
    with damage_named(data_dir, schema):
        for split in splits or schema.held_out_splits:
            labels, batches = [], []
            for features, label in read_split(
                data_dir, schema, split, EVALUATION_BATCH_SIZE
            ):
                labels.append(label.numpy().ravel())
                batches.append(baselines.probabilities(features))
            measures[split] = measure_batches(np.concatenate(labels), batches)
    return measures


def measure_batches(
    labels: np.ndarray, batches: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, BinaryMetrics]:
    """Return the measures of each baseline.

    Args:
        labels: Labels `(rows,)`.
        batches: Probabilities by baseline, of one batch after the other.
    """
    probabilities = defaultdict(list)
    for batch in batches:
        for name, values in batch.items():
            probabilities[name].append(values)
    return {
        name: binary_metrics(labels, np.concatenate(values))
        for name, values in probabilities.items()
    }


def as_json(measures: Measures) -> dict[str, dict[str, dict[str, float]]]:
    """Return AUC and log loss by split and baseline."""
    return {
        split: {
            name: {"auc": values.auc, "log_loss": values.log_loss}
            for name, values in baselines.items()
        }
        for split, baselines in measures.items()
    }


def describe(
    model: str, metrics: Mapping[str, BinaryMetrics], baselines: Measures
) -> str:
    """Return the table of a model and the baselines, and advice if there is any.

    Args:
        model: Name of the model.
        metrics: Its measures by split.
        baselines: Those of the baselines.
    """
    table = as_table(model, metrics, baselines)
    hint = advice(model, metrics, baselines)
    head = "Next to simple models, fitted to the same training rows:"
    return "\n\n".join([head, table, *([hint] if hint else [])])


def as_table(
    model: str, metrics: Mapping[str, BinaryMetrics], baselines: Measures
) -> str:
    """Return a Markdown table of a model and the baselines on the same rows.

    Args:
        model: Name of the model.
        metrics: Its measures by split.
        baselines: Those of the baselines.

    Example:

    >>> values = binary_metrics(np.array([0, 1]), np.array([0.1, 0.9]))
    >>> base = binary_metrics(np.array([0, 1]), np.array([0.5, 0.5]))
    >>> print(as_table("dlrm", {"test": values}, {"test": {"base rate": base}}))
    | split | model | AUC | log loss |
    |---|---|---:|---:|
    | test | dlrm | 1.0000 | 0.1054 |
    | test | base rate | 0.5000 | 0.6931 |
    """
    lines = ["| split | model | AUC | log loss |", "|---|---|---:|---:|"]
    for split, simple in baselines.items():
        for name, values in {model: metrics[split], **simple}.items():
            cells = [split, markdown(name), measure_text(values.auc)]
            cells.append(measure_text(values.log_loss))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def advice(
    model: str, metrics: Mapping[str, BinaryMetrics], baselines: Measures
) -> str | None:
    """Say what to try if a model is no better than a baseline, or return `None`.

    The rows are the validation rows, or the test rows if there are none. A model is
    better if its log loss is lower, and its AUC higher by more than their standard
    error of the greater AUC.

    Args:
        model: Name of the model.
        metrics: Its measures by split.
        baselines: Those of the baselines.
    """
    split = next(iter(baselines), None)
    if split is None or metrics[split].has_one_class:
        return None
    values = metrics[split]
    for name, simple in baselines[split].items():
        is_ahead = name == BASE_RATE or values.auc > simple.auc + _error(simple)
        if not (is_ahead and values.log_loss < simple.log_loss):
            return (
                f"On the {split} rows {model} (AUC {values.auc:.4f}, log loss "
                f"{values.log_loss:.4f}) is not clearly better than the "
                f"{visible(name)} (AUC {simple.auc:.4f}, log loss "
                f"{simple.log_loss:.4f}). {ADVICE}"
            )
    return None


def _error(values: BinaryMetrics) -> float:
    """Return the standard error of an AUC.

    Reference:
        [Hanley and McNeil, 1982](https://doi.org/10.1148/radiology.143.1.7063747),
        equation 1.
    """
    area = values.auc
    clicks = values.rows * values.base_rate
    others = values.rows - clicks
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area)
    variance += (clicks - 1) * (first - area**2) + (others - 1) * (second - area**2)
    return float(np.sqrt(variance / (clicks * others)))
