"""Which columns matter: what a model loses when one of them is shuffled."""

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
"""Columns in the picture of importances, for one that can be read."""

Score = Callable[[dict[str, Any]], tf.Tensor]
"""From features to probabilities `(batch, 1)`."""


@dataclass(frozen=True)
class Rows:
    """Rows held in memory.

    Args:
        features: As the model takes them, all rows in one batch.
        labels: Shape `(rows,)`.
    """

    features: dict[str, Any]
    labels: np.ndarray


@dataclass(frozen=True)
class Importance:
    """What shuffling one column costs, a number for each repeat.

    Args:
        name: The column.
        auc_drop: By how much the AUC falls.
        log_loss_rise: By how much the log loss grows.
    """

    name: str
    auc_drop: tuple[float, ...]
    log_loss_rise: tuple[float, ...]


def sample_rows(
    batches: tf.data.Dataset, num_rows: int, wanted: int, seed: int
) -> Rows:
    """A random sample of the rows of a split, of all of it alike.

    Args:
        batches: As `tfdlrm.data.read_split` gives them in file order.
        num_rows: Rows that they have together.
        wanted: Rows to keep; all, if there are no more.
        seed: Seed of the choice.
    """
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(num_rows, min(wanted, num_rows), replace=False))
    kept, start = [], 0
    for features, labels in batches:
        stop = start + labels.shape[0]
        first, last = np.searchsorted(chosen, [start, stop])
        places = chosen[first:last] - start
        kept.append(
            tf.nest.map_structure(
                lambda values, places=places: tf.gather(values, places),
                (features, labels),
            )
        )
        start = stop
    features = {
        name: tf.concat([features[name] for features, _ in kept], axis=0)
        for name in kept[0][0]
    }
    labels = np.concatenate([labels.numpy().ravel() for _, labels in kept])
    return Rows(features, labels)


def measure(score: Score, rows: Rows) -> tuple[float, float]:
    """AUC and log loss of the rows as they are."""
    return _measure(score, rows, lambda features, _: features)


def permutation_importances(
    score: Score, rows: Rows, schema: FeatureSchema, repeats: int, seed: int
) -> list[Importance]:
    """Shuffle each column in turn, the others as they are, and measure again.

    A shuffled column keeps its values and loses what they say about the label. Columns
    that say the same thing share their importance: each can stand in for the other.

    Args:
        score: The model.
        rows: Rows that it was not trained on.
        schema: Names of their columns.
        repeats: Times that each column is shuffled, each time in another order; the
            orders are the same for all columns.
        seed: Seed of the orders.

    Returns:
        One for each column, in the order of the schema.

    Reference:
        [Breiman, 2001](https://doi.org/10.1023/A:1010933404324), section 10; for any
        model: [Fisher et al., 2019](https://jmlr.org/papers/v20/18-760.html).
    """
    columns = [
        *(("dense_features", i, name) for i, name in enumerate(schema.dense_features)),
        *(
            ("categorical_features", i, feature.name)
            for i, feature in enumerate(schema.categorical_features)
        ),
    ]
    orders = [
        np.random.default_rng([seed, repeat]).permutation(len(rows.labels))
        for repeat in range(repeats)
    ]
    whole_auc, whole_loss = measure(score, rows)
    importances = []
    for kind, position, name in columns:
        measured = [
            _measure(score, rows, _shuffle(rows, kind, position, order))
            for order in orders
        ]
        drops = tuple(whole_auc - value for value, _ in measured)
        rises = tuple(value - whole_loss for _, value in measured)
        importances.append(Importance(name, drops, rises))
    return importances


def _shuffle(
    rows: Rows, kind: str, position: int, order: np.ndarray
) -> Callable[[dict[str, Any], slice], dict[str, Any]]:
    """A function that gives some rows another's value in one column."""
    values = rows.features[kind][:, position : position + 1]

    def shuffled(features: dict[str, Any], some: slice) -> dict[str, Any]:
        given = features[kind]
        columns = [
            given[:, :position],
            tf.gather(values, order[some]),
            given[:, position + 1 :],
        ]
        return {**features, kind: tf.concat(columns, axis=1)}

    return shuffled


def _measure(
    score: Score,
    rows: Rows,
    change: Callable[[dict[str, Any], slice], dict[str, Any]],
) -> tuple[float, float]:
    probabilities = []
    for start in range(0, len(rows.labels), EVALUATION_BATCH_SIZE):
        some = slice(start, start + EVALUATION_BATCH_SIZE)
        features = {name: values[some] for name, values in rows.features.items()}
        probabilities.append(score(change(features, some)).numpy().ravel())
    scores = np.concatenate(probabilities).astype(np.float64)
    return auc(rows.labels, scores), log_loss(rows.labels, scores)


def as_table(importances: Sequence[Importance]) -> str:
    """A Markdown table, the most important column first.

    Example:

    >>> print(as_table([Importance("C1", (0.1, 0.2), (0.3, 0.3))]))
    | column | AUC drop | log loss rise |
    |---|---:|---:|
    | C1 | 0.1500 ± 0.0707 | 0.3000 ± 0.0000 |
    """
    lines = ["| column | AUC drop | log loss rise |", "|---|---:|---:|"]
    for each in by_importance(importances):
        cells = [
            markdown(each.name),
            _spread(each.auc_drop),
            _spread(each.log_loss_rise),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def by_importance(importances: Sequence[Importance]) -> list[Importance]:
    """The same, those whose shuffling costs the most AUC first."""
    return sorted(importances, key=lambda each: -np.mean(each.auc_drop))


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"


def plot_importances(importances: Sequence[Importance], path: Path) -> bool:
    """Draw what shuffling each column costs, with the spread over repeats.

    Returns:
        Whether it was drawn; if there is no font for the names, a line says so.
    """
    shown = by_importance(importances)[:MOST_COLUMNS]
    names = [each.name for each in shown]
    families = font_families(names)
    if families is None:
        say_not_drawn(path.name)
        return False
    height = 1.2 + 0.21 * len(shown)
    figure = Figure(figsize=(9, height), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    titles = {"auc_drop": "drop of AUC", "log_loss_rise": "rise of log loss"}
    for axis, (field, title) in zip(axes, titles.items(), strict=True):
        values = [getattr(each, field) for each in shown]
        axis.barh(
            range(len(shown)),
            [np.mean(each) for each in values],
            xerr=[np.std(each, ddof=1) for each in values],
            error_kw={"elinewidth": 1, "capsize": 2},
        )
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(title=title)
        name_rows(axis, names, families)
        axis.grid(axis="x", alpha=0.3)
    if len(shown) < len(importances):
        figure.suptitle(
            f"the {len(shown)} most important of {len(importances)} columns"
        )
    save_figure(figure, path)
    return True
