"""The baselines of a data set, fitted to its training rows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdlrm.base import storage
from tfdlrm.baselines.column_ids import ColumnIds, ids_by_column
from tfdlrm.baselines.column_rates import ColumnRate, RateCounter
from tfdlrm.data.reading import damage_named, read_split
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.layers import LinearTerms
from tfdlrm.metrics.splits import EVALUATION_BATCH_SIZE
from tfdlrm.optimizers import Adagrad

BASE_RATE = "base rate"
LOGISTIC_REGRESSION = "logistic regression"

COUNTED_PARTS = 20
"""Batches, or more, in which the rows of values are counted."""

LEARNING_RATE = 0.05
LEAST_STEPS = 500
"""Steps of the logistic regression's pass, as far as batches of 128 rows allow."""


@dataclass(frozen=True)
class Baselines:
    """Three models without any setting, fitted to training rows.

    They are the click rate of all rows; the smoothed click rate of each value of the
    one column that predicts best; and a logistic regression on all columns, trained for
    one pass.

    Args:
        base_rate: Click rate of the training rows.
        column: The click rates of the best column.
        bias: Bias of the logistic regression.
        dense_weights: Its weight for each dense feature.
        id_weights: Its weight for each id, the columns one after the other.
        id_offsets: Position of each column's first id in `id_weights`.

    Reference:
        [Micci-Barreca, 2001](https://doi.org/10.1145/507533.507538), equation 3, for
        the smoothed rates.
    """

    base_rate: float
    column: ColumnRate
    bias: float
    dense_weights: np.ndarray
    id_weights: np.ndarray
    id_offsets: np.ndarray

    def probabilities(self, features: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return the probabilities `(rows,)` of each baseline, by its name.

        Args:
            features: A batch as in `tfdlrm.data`.
        """
        dense, columns = _as_arrays(features)
        logits = self.bias + dense @ self.dense_weights
        for ids, offset in zip(columns, self.id_offsets, strict=True):
            logits = logits + ids.sums(self.id_weights[ids.ids + offset])
        return {
            BASE_RATE: np.full(len(dense), self.base_rate),
            f"best column ({self.column.name})": self.column.probabilities(
                dense, columns
            ),
            LOGISTIC_REGRESSION: 1 / (1 + np.exp(-logits)),
        }

    def save(self, path: Path) -> None:
        """Write the file.

        Raises:
            OSError: If the disk refuses.
        """
        edges = self.column.edges
        with storage.whole(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                base_rate=self.base_rate,
                name=np.array(self.column.name),
                index=self.column.index,
                edges=np.zeros(0) if edges is None else edges,
                rates=self.column.rates,
                bias=self.bias,
                dense_weights=self.dense_weights,
                id_weights=self.id_weights,
                id_offsets=self.id_offsets,
            )

    @classmethod
    def load(cls, path: Path) -> "Baselines | None":
        """Read what `save` wrote; `None` if there is no such file."""
        if not path.is_file():
            return None
        with path.open("rb") as file, np.load(file) as arrays:
            edges = arrays["edges"]
            column = ColumnRate(
                str(arrays["name"]),
                int(arrays["index"]),
                edges if edges.size else None,
                arrays["rates"],
                float(arrays["base_rate"]),
            )
            return cls(
                column.base_rate,
                column,
                float(arrays["bias"]),
                arrays["dense_weights"],
                arrays["id_weights"],
                arrays["id_offsets"],
            )


def kept_baselines(path: Path, data_dir: Path, schema: FeatureSchema) -> Baselines:
    """Return the baselines in a file, which is written if there is none.

    Args:
        path: The file.
        data_dir: Directory of the data set.
        schema: Schema of the data set.

    Raises:
        InputError: As for `fit_baselines`.
        OSError: If the disk refuses.
    """
    baselines = Baselines.load(path)
    if baselines is None:
        baselines = fit_baselines(data_dir, schema)
        baselines.save(path)
    return baselines


def fit_baselines(data_dir: Path, schema: FeatureSchema) -> Baselines:
    """Fit the baselines to the training rows of a data set.

    The rows are read twice. Memory is 8 bytes for each id.

    Args:
        data_dir: Directory of the data set.
        schema: Schema of the data set.

    Raises:
        InputError: If there are no training rows, or a record is damaged.
    """
    with damage_named(data_dir, schema):
        base_rate, column, means, scales = _count(data_dir, schema)
        linear = _train_linear(data_dir, schema, base_rate, means, scales)
    # Weights for features as they are, not as they were centred and scaled.
    dense_weights = np.zeros(0)
    if schema.dense_features:
        dense_weights = linear.dense_weights.numpy()[:, 0] / scales
    sizes = schema.vocabulary_sizes
    id_weights = np.zeros(0, np.float32)
    if linear.id_weights is not None:
        id_weights = np.concatenate(
            [table.numpy()[:, 0] for table in linear.id_weights.tables]
        )
    return Baselines(
        base_rate,
        column,
        float(linear.bias.numpy()[0] - means @ dense_weights),
        dense_weights,
        id_weights,
        np.cumsum([0, *sizes])[: len(sizes)],
    )


def _as_arrays(features: Mapping[str, Any]) -> tuple[np.ndarray, list[ColumnIds]]:
    dense = np.asarray(features["dense_features"], np.float64)
    return dense, [*ids_by_column(features["categorical_features"])]


def _count(
    data_dir: Path, schema: FeatureSchema
) -> tuple[float, ColumnRate, np.ndarray, np.ndarray]:
    """Return the click rates, and mean and standard deviation of dense features."""
    num_rows = schema.num_rows("train")
    counter = RateCounter(schema, num_rows)
    sums = np.zeros((2, len(schema.dense_features)))
    # Columns are rated by batches of which none has counted yet.
    batch_size = min(max(num_rows // COUNTED_PARTS, 1), EVALUATION_BATCH_SIZE)
    for features, label in read_split(data_dir, schema, "train", batch_size):
        dense, columns = _as_arrays(features)
        counter.add(dense, columns, label.numpy().ravel())
        sums += [dense.sum(axis=0), np.square(dense).sum(axis=0)]
    means, squares = sums / num_rows
    scales = np.sqrt(np.maximum(squares - means**2, 0))
    return counter.base_rate, counter.best(), means, np.where(scales > 0, scales, 1)


def _train_linear(
    data_dir: Path,
    schema: FeatureSchema,
    base_rate: float,
    means: np.ndarray,
    scales: np.ndarray,
) -> LinearTerms:
    """Train a logistic regression for one pass over the training rows."""
    batch_size = schema.num_rows("train") // LEAST_STEPS
    batch_size = min(max(batch_size, 128), EVALUATION_BATCH_SIZE)
    batches = read_split(data_dir, schema, "train", batch_size, shuffle=(0, 0))
    linear = LinearTerms(schema.vocabulary_sizes, dtype="float32")
    features, _ = batches.element_spec
    linear.build(
        features["dense_features"].shape, features["categorical_features"].shape
    )
    rate = min(max(base_rate, 1e-6), 1 - 1e-6)
    linear.bias.assign([math.log(rate / (1 - rate))])
    optimizer = Adagrad(learning_rate=LEARNING_RATE)
    optimizer.build(linear.trainable_variables)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)

    shift, scale = means.astype(np.float32), scales.astype(np.float32)

    @tf.function(input_signature=[batches.element_spec])
    def step(batch: Any) -> None:
        features, label = batch
        dense = (features["dense_features"] - shift) / scale
        with tf.GradientTape() as tape:
            logits = linear(dense, features["categorical_features"])
            value = loss(label, logits)
        variables = linear.trainable_variables
        optimizer.apply(tape.gradient(value, variables), variables)

    for batch in batches:
        step(batch)
    return linear
