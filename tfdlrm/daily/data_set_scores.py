"""Scores of a data set by a model of a data set that it extends."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tensorflow as tf

from pipelines.ids.dialects import load_tables
from tfdlrm.base.errors import InputError
from tfdlrm.data.extension import carried_ids
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.reading import damage_named, read_split
from tfdlrm.data.schema import SPLITS, FeatureSchema
from tfdlrm.data.unknown_values import UnknownValues, usual_shares
from tfdlrm.data.vocabulary_contents import with_contents
from tfdlrm.exporting.raw_scores import ScoredLog
from tfdlrm.exporting.scorer import Scorer
from tfdlrm.metrics.splits import EVALUATION_BATCH_SIZE, score_all


def score_data_set(scorer: Scorer, directory: Path) -> ScoredLog:
    """Score all rows of a data set that extends the data set of a model.

    Ids that the model does not have, and ids that have another value there, are
    unknown to it.

    Args:
        scorer: The model.
        directory: The data set.

    Raises:
        InputError: If the data set does not extend that of the model.
    """
    schema = FeatureSchema.load(directory)
    extra = scorer.extra_directory
    meaning = Meaning.of(with_contents(scorer.schema, extra))
    carried = carried_ids(directory, schema, meaning.fingerprint)
    if carried is None:
        raise InputError(
            f"{directory} does not extend the data set of {scorer.path}: prepare it "
            "with --extend"
        )
    names = [feature.name for feature in schema.categorical_features]
    unknown = UnknownValues(names, usual_shares(extra, scorer.schema.coverage))
    ids_of_model = IdsOfModel(schema, carried, _unknown_ids(scorer), unknown)

    def score(features: dict[str, Any]) -> tf.Tensor:
        ids = ids_of_model(features["categorical_features"])
        return scorer({**features, "categorical_features": ids})

    labels, probabilities = [], []
    with damage_named(directory, schema):
        for split in SPLITS:
            if schema.num_rows(split):
                batches = read_split(directory, schema, split, EVALUATION_BATCH_SIZE)
                split_labels, split_probabilities = score_all(score, batches)
                labels.append(split_labels)
                probabilities.append(split_probabilities)
    return ScoredLog(np.concatenate(labels), np.concatenate(probabilities), unknown)


def _unknown_ids(scorer: Scorer) -> list[int]:
    """Return the id that a model gives to unknown values of each column."""
    schema = scorer.schema
    if "unknown" in schema.reserved_ids:
        unknown_id = schema.reserved_ids["unknown"]
        return [unknown_id] * len(schema.categorical_features)
    missing = pl.Series("value", [None], pl.UInt32)  # whose id they share
    tables = load_tables(scorer.extra_directory, schema)
    return [int(table.ids(missing)[0]) for table in tables]


class IdsOfModel:
    """Turns ids of a data set into those of a model, and counts the unknown ones.

    Args:
        schema: Schema of the data set.
        carried: For each column, which ids of the model mean the same in the data set.
        unknown_ids: The model's id of unknown values of each column.
        unknown: Counts the values that are unknown to the model.
    """

    def __init__(
        self,
        schema: FeatureSchema,
        carried: Mapping[str, np.ndarray],
        unknown_ids: list[int],
        unknown: UnknownValues,
    ) -> None:
        self._unknown = unknown
        self._names = [feature.name for feature in schema.categorical_features]
        self._ids, self._are_unknown = [], []
        unknown_id = schema.reserved_ids.get("unknown")
        sizes = schema.vocabulary_sizes
        for name, size, id_there in zip(self._names, sizes, unknown_ids, strict=True):
            is_carried = np.zeros(size, bool)
            is_carried[: len(carried[name])] = carried[name][:size]
            ids = np.where(is_carried, np.arange(size), id_there)
            is_unknown = ~is_carried
            if unknown_id is not None:
                is_unknown[unknown_id] = True
            self._ids.append(ids.astype(np.int32))
            self._are_unknown.append(is_unknown)

    def __call__(self, ids: tf.Tensor | tf.RaggedTensor) -> Any:
        """Return ids `(rows, features)`, or bags of ids, of the model."""
        if isinstance(ids, tf.RaggedTensor):
            return self._bags(ids)
        columns = ids.numpy()
        model_ids = [
            self._column(position, columns[:, position], 0)
            for position in range(len(self._names))
        ]
        return tf.constant(np.stack(model_ids, axis=1))

    def _bags(self, ids: tf.RaggedTensor) -> tf.RaggedTensor:
        # The bags of all columns follow each other, row by row.
        num_columns = len(self._names)
        lengths = ids.values.row_lengths().numpy().reshape(-1, num_columns)
        columns = np.tile(np.arange(num_columns), len(lengths))
        column_of_id = np.repeat(columns, lengths.ravel())
        flat_ids = ids.flat_values.numpy()
        model_ids = np.empty_like(flat_ids)
        for position in range(num_columns):
            is_of_column = column_of_id == position
            num_empty = int((lengths[:, position] == 0).sum())
            model_ids[is_of_column] = self._column(
                position, flat_ids[is_of_column], num_empty
            )
        return ids.with_flat_values(tf.constant(model_ids))

    def _column(self, position: int, ids: np.ndarray, num_empty: int) -> np.ndarray:
        """Convert and count the ids of a column; an empty bag is a missing value."""
        num_unknown = int(self._are_unknown[position][ids].sum())
        self._unknown.add(self._names[position], len(ids) + num_empty, num_unknown)
        return self._ids[position][ids]
