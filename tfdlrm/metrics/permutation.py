"""The importance of columns: the loss of a model when one of them is shuffled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from tfdlrm.base.figures import font_families, name_rows, save_figure, say_not_drawn
from tfdlrm.base.plain_text import markdown
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.metrics.binary import auc, log_loss
from tfdlrm.metrics.splits import EVALUATION_BATCH_SIZE

MOST_COLUMNS = 50
"""Most columns in the picture of importances, so that it can be read."""

Score = Callable[[dict[str, Any]], tf.Tensor]
"""Function from features to probabilities `(batch, 1)`."""


@dataclass(frozen=True)
class Rows:
    """Rows held in memory.

    Args:
        features: Inputs of the model, all rows in one batch.
        labels: Shape `(rows,)`.
    """

    features: dict[str, Any]
    labels: np.ndarray


@dataclass(frozen=True)
class Importance:
    """The cost of shuffling one column, a number for each repeat.

    Args:
        name: Name of the column.
        auc_drop: Decrease of the AUC.
        log_loss_rise: Increase of the log loss.
    """

    name: str
    auc_drop: tuple[float, ...]
    log_loss_rise: tuple[float, ...]


def sample_rows(
    batches: tf.data.Dataset, num_rows: int, sample_size: int, seed: int
) -> Rows:
    """Return a random sample of the rows of a split; each row is equally likely.

    Args:
        batches: Batches of `tfdlrm.data.read_split`, in file order.
        num_rows: Rows of all batches.
        sample_size: Rows to sample; all rows if there are fewer.
        seed: Seed of the choice.
    """
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.choice(num_rows, min(sample_size, num_rows), replace=False))
    parts, start = [], 0
    for features, labels in batches:
        stop = start + labels.shape[0]
        first_index, last_index = np.searchsorted(sample, [start, stop])
        positions = sample[first_index:last_index] - start
        parts.append(
            tf.nest.map_structure(
                lambda values, positions=positions: tf.gather(values, positions),
                (features, labels),
            )
        )
        start = stop
    features = {
        name: tf.concat([features[name] for features, _ in parts], axis=0)
        for name in parts[0][0]
    }
    labels = np.concatenate([labels.numpy().ravel() for _, labels in parts])
    return Rows(features, labels)


def measure(score: Score, rows: Rows) -> tuple[float, float]:
    """Return AUC and log loss of the rows as they are."""
    return _measure(score, rows, lambda features, _: features)


def permutation_importances(
    score: Score, rows: Rows, schema: FeatureSchema, repeats: int, seed: int
) -> list[Importance]:
    """Measure the model with each column in turn shuffled and the others as they are.

    A shuffled column keeps its values and loses their relation to the label. Columns
    with the same information share their importance: one can replace the other. What is
    derived from a column, such as a flag of missing values, is shuffled with it.

    Args:
        score: Model to measure.
        rows: Rows that the model was not trained on.
        schema: Schema with the names of the columns.
        repeats: Number of shuffles of each column, each in another order; the orders
            are the same for all columns.
        seed: Seed of the orders.

    Returns:
        An importance for each raw column, in the order of the schema.

    Reference:
        [Breiman, 2001](https://doi.org/10.1023/A:1010933404324), section 10; for any
        model: [Fisher et al., 2019](https://jmlr.org/papers/v20/18-760.html).
    """
    orders = [
        np.random.default_rng([seed, repeat]).permutation(len(rows.labels))
        for repeat in range(repeats)
    ]
    base_auc, base_loss = measure(score, rows)
    importances = []
    for name, features in _features_of_columns(schema).items():
        measures = [
            _measure(score, rows, _shuffle(rows, features, order)) for order in orders
        ]
        drops = tuple(base_auc - value for value, _ in measures)
        rises = tuple(value - base_loss for _, value in measures)
        importances.append(Importance(name, drops, rises))
    return importances


def _features_of_columns(schema: FeatureSchema) -> dict[str, list[tuple[str, int]]]:
    """Return the group and position of the features of each raw column, by its name."""
    features: dict[str, list[tuple[str, int]]] = {
        name: [] for name in schema.raw_columns
    }
    categorical = [feature.name for feature in schema.categorical_features]
    for group, names in (
        ("dense_features", schema.dense_features),
        ("categorical_features", categorical),
    ):
        for position, name in enumerate(names):
            features[schema.column_of(name)].append((group, position))
    return features


def _shuffle(
    rows: Rows, shuffled: Sequence[tuple[str, int]], order: np.ndarray
) -> Callable[[dict[str, Any], slice], dict[str, Any]]:
    """Return a function that replaces some features of a batch by shuffled values."""

    def shuffle(features: dict[str, Any], rows_of_batch: slice) -> dict[str, Any]:
        new_rows = order[rows_of_batch]
        for group, position in shuffled:
            values = features[group]
            columns = [
                values[:, :position],
                tf.gather(rows.features[group][:, position : position + 1], new_rows),
                values[:, position + 1 :],
            ]
            features = {**features, group: tf.concat(columns, axis=1)}
        return features

    return shuffle


def _measure(
    score: Score,
    rows: Rows,
    change: Callable[[dict[str, Any], slice], dict[str, Any]],
) -> tuple[float, float]:
    probabilities = []
    for start in range(0, len(rows.labels), EVALUATION_BATCH_SIZE):
        rows_of_batch = slice(start, start + EVALUATION_BATCH_SIZE)
        features = {
            name: values[rows_of_batch] for name, values in rows.features.items()
        }
        probabilities.append(score(change(features, rows_of_batch)).numpy().ravel())
    scores = np.concatenate(probabilities).astype(np.float64)
    return auc(rows.labels, scores), log_loss(rows.labels, scores)


def as_table(importances: Sequence[Importance]) -> str:
    """Return a Markdown table, with the most important column first.

    Example:

    >>> print(as_table([Importance("C1", (0.1, 0.2), (0.3, 0.3))]))
    | column | AUC drop | log loss rise |
    |---|---:|---:|
    | C1 | 0.1500 ± 0.0707 | 0.3000 ± 0.0000 |
    """
    lines = ["| column | AUC drop | log loss rise |", "|---|---:|---:|"]
    for importance in by_importance(importances):
        cells = [
            markdown(importance.name),
            _spread(importance.auc_drop),
            _spread(importance.log_loss_rise),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def by_importance(importances: Sequence[Importance]) -> list[Importance]:
    """Return the importances sorted by the drop of AUC, the largest first."""
    return sorted(importances, key=lambda importance: -np.mean(importance.auc_drop))


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"


def plot_importances(importances: Sequence[Importance], path: Path) -> bool:
    """Draw the cost of shuffling each column, with the spread over repeats.

    Returns:
        Whether the picture was drawn; if no font has the names, a line says so.
    """
    columns = by_importance(importances)[:MOST_COLUMNS]
    names = [column.name for column in columns]
    families = font_families(names)
    if families is None:
        say_not_drawn(path.name)
        return False
    height = 1.2 + 0.21 * len(columns)
    figure = Figure(figsize=(9, height), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    titles = {"auc_drop": "drop of AUC", "log_loss_rise": "rise of log loss"}
    for axis, (field, title) in zip(axes, titles.items(), strict=True):
        values = [getattr(column, field) for column in columns]
        axis.barh(
            range(len(columns)),
            [np.mean(repeats) for repeats in values],
            xerr=[np.std(repeats, ddof=1) for repeats in values],
            error_kw={"elinewidth": 1, "capsize": 2},
        )
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(title=title)
        name_rows(axis, names, families)
        axis.grid(axis="x", alpha=0.3)
    if len(columns) < len(importances):
        figure.suptitle(
            f"the {len(columns)} most important of {len(importances)} columns"
        )
    save_figure(figure, path)
    return True
