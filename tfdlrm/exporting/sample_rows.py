"""Raw rows that occurred: rows of a data set turned back into a log's values."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdlrm.data.dialects import traits_of
from tfdlrm.data.reading import damage_named, read_split
from tfdlrm.data.schema import MISSING_ID, UNKNOWN_ID, FeatureSchema
from tfdlrm.data.vocabulary_files import read_values

NUM_SAMPLES = 8

_ROWS_TO_LOOK_AT = 2048
_MOST_DIGITS = 17
"""Significant digits that distinguish all float64."""


def sample_rows(data_dir: Path, schema: FeatureSchema) -> list[dict[str, Any]]:
    """Return up to `NUM_SAMPLES` raw rows of the first held-out split.

    A model computes the same features from them as from the rows of the data set. They
    are spread over the first rows of the split; rows with unknown values, which the
    data set does not hold, are left out.

    Args:
        data_dir: Directory of the data set.
        schema: Schema of the data set.

    Returns:
        For each row its values by column: text, blank where missing, and lists of text
        for multi-hot columns. Empty if no rows are held out, or if values are hashed.
    """
    splits = schema.held_out_splits
    if not splits or not traits_of(schema.dialect).has_vocabulary:
        return []
    batches = read_split(data_dir, schema, splits[0], _ROWS_TO_LOOK_AT)
    with damage_named(data_dir, schema):
        features, _ = next(iter(batches))
    dense = features["dense_features"].numpy()
    columns = _columns_of_ids(features["categorical_features"])
    candidates = np.arange(len(dense))
    if not traits_of(schema.dialect).missing_is_zero:
        has_unknown = [
            [bool(np.any(bag == UNKNOWN_ID)) for bag in column] for column in columns
        ]
        if columns:
            candidates = np.flatnonzero(~np.any(has_unknown, axis=0))
    spread = np.unique(np.linspace(0, len(candidates) - 1, NUM_SAMPLES, dtype=int))
    rows = candidates[spread] if len(candidates) else candidates
    samples: list[dict[str, Any]] = [
        {
            name: number_text(dense[row, position], name in schema.untransformed)
            for position, name in enumerate(schema.dense_features)
        }
        for row in rows
    ]
    for feature, column in zip(schema.categorical_features, columns, strict=True):
        bags = [column[row] for row in rows]
        ids = np.unique(np.concatenate(bags)) if bags else np.array([], np.int32)
        values = read_values(data_dir, feature.name, ids.tolist())
        if not traits_of(schema.dialect).missing_is_zero:
            values[MISSING_ID] = ""
        for sample, bag in zip(samples, bags, strict=True):
            texts = [values.get(int(number), "") for number in bag]
            sample[feature.name] = texts if feature.multi_hot else texts[0]
    return samples


def _columns_of_ids(ids: Any) -> list[list[np.ndarray]]:
    """Return the ids of each column, an array for each row."""
    if isinstance(ids, tf.RaggedTensor):
        num_columns = ids.shape[1]
        return [list(map(np.asarray, ids[:, i].to_list())) for i in range(num_columns)]
    return [list(column[:, None]) for column in ids.numpy().T]


def number_text(feature: float, is_untransformed: bool) -> str:
    """Return the shortest number with a dense feature, whole where one has it.

    Args:
        feature: Value of a dense feature, float32.
        is_untransformed: Whether it is the number itself, not `log(number + 1)`.

    Example:

    >>> number_text(np.log1p(np.float32(41)), False), number_text(np.float32(0.1), True)
    ('41', '0.1')
    """
    target = np.float32(feature)
    number = float(target) if is_untransformed else float(np.expm1(np.float64(target)))
    for digits in range(1, _MOST_DIGITS + 1):
        candidate = float(f"{number:.{digits}g}")
        value = candidate if is_untransformed else np.log1p(candidate)
        if np.float32(value) == target:
            number = candidate
            break
    return str(int(number)) if number.is_integer() else repr(number)
