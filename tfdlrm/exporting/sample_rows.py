"""Raw rows that occurred: rows of a data set turned back into a log's values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdlrm.data.dialects import traits_of
from tfdlrm.data.number_features import NumberFeature
from tfdlrm.data.reading import damage_named, read_split
from tfdlrm.data.schema import (
    MISSING_ID,
    UNKNOWN_ID,
    CategoricalFeature,
    FeatureSchema,
)
from tfdlrm.data.transforms import Log1p, NoTransform
from tfdlrm.data.vocabulary_files import has_vocabularies, read_values
from tfdlrm.exporting.sample_numbers import ColumnFeatures

NUM_SAMPLES = 8

_ROWS_TO_LOOK_AT = 2048
_MOST_DIGITS = 17
"""Significant digits that distinguish all float64."""


def sample_rows(data_dir: Path, schema: FeatureSchema) -> list[dict[str, Any]]:
    """Return up to `NUM_SAMPLES` raw rows of a data set, held-out ones if possible.

    A model computes the same features from them as from the rows of the data set. Rows
    with unknown values are left out, since a data set does not hold these.

    Args:
        data_dir: Directory of the data set.
        schema: Schema of the data set.

    Returns:
        For each row its values by column: text, blank where missing, and lists of text
        for multi-hot columns. Empty if values are hashed, there are no vocabularies,
        or all rows have unknown values.
    """
    is_hashed = not traits_of(schema.dialect).has_vocabulary
    if is_hashed or not has_vocabularies(schema, data_dir):
        return []
    for split in (*schema.held_out_splits, "train"):
        if schema.num_rows(split):
            dense, columns = _known_rows(data_dir, schema, split)
            if len(dense):
                return _as_text(data_dir, schema, dense, columns)
    return []


def _known_rows(
    data_dir: Path, schema: FeatureSchema, split: str
) -> tuple[np.ndarray, list[list[np.ndarray]]]:
    """Return dense features and ids of rows without unknown values, spread evenly.

    Returns:
        Dense features `(rows, n)`; and the ids of each column, an array for each row.
    """
    with damage_named(data_dir, schema):
        batches = read_split(data_dir, schema, split, _ROWS_TO_LOOK_AT)
        features, _ = next(iter(batches))
    dense = features["dense_features"].numpy()
    columns = _columns_of_ids(features["categorical_features"])
    has_unknown = np.zeros(len(dense), bool)
    if not traits_of(schema.dialect).missing_is_zero:
        for column in columns:
            has_unknown |= [bool((bag == UNKNOWN_ID).any()) for bag in column]
    known = np.flatnonzero(~has_unknown)
    spread = np.linspace(0, max(len(known) - 1, 0), NUM_SAMPLES).astype(int)
    rows = known[np.unique(spread)] if len(known) else known
    return dense[rows], [[column[row] for row in rows] for column in columns]


def _columns_of_ids(ids: Any) -> list[list[np.ndarray]]:
    """Return the ids of each column, an array for each row."""
    if isinstance(ids, tf.RaggedTensor):
        columns = [ids[:, position].to_list() for position in range(ids.shape[1])]
        return [[np.array(bag, np.int32) for bag in column] for column in columns]
    return [list(column[:, None]) for column in ids.numpy().T]


def _as_text(
    data_dir: Path,
    schema: FeatureSchema,
    dense: np.ndarray,
    columns: list[list[np.ndarray]],
) -> list[dict[str, Any]]:
    samples: list[dict[str, Any]] = [{} for _ in dense]
    values_of = {
        feature.name: _values(data_dir, schema, feature, bags)
        for feature, bags in zip(schema.categorical_features, columns, strict=True)
    }
    for name in schema.number_columns:
        for sample, text in zip(
            samples, _number_texts(schema, name, dense, values_of), strict=True
        ):
            sample[name] = text
    for feature in schema.categorical_features:
        if feature.name in schema.transforms:
            continue
        for sample, texts in zip(samples, values_of[feature.name], strict=True):
            sample[feature.name] = texts if feature.multi_hot else texts[0]
    # A number may be missing where several features of a column do not fit together.
    return [sample for sample in samples if None not in sample.values()]


def _values(
    data_dir: Path,
    schema: FeatureSchema,
    feature: CategoricalFeature,
    bags: list[np.ndarray],
) -> list[list[str]]:
    """Return the texts of a categorical feature, blank where missing."""
    ids = np.unique(np.concatenate(bags)).tolist()
    values = read_values(data_dir, feature.name, ids)
    if not traits_of(schema.dialect).missing_is_zero:
        values[MISSING_ID] = ""
    return [[values.get(number, "") for number in bag.tolist()] for bag in bags]


def _number_texts(
    schema: FeatureSchema,
    column: str,
    dense: np.ndarray,
    values_of: Mapping[str, list[list[str]]],
) -> list[str | None]:
    """Return numbers of a raw column that have the features of some rows, as text."""
    names = [name for name in schema.dense_features if schema.column_of(name) == column]
    is_untransformed = column in schema.untransformed
    buckets = [
        name
        for name in schema.single_hot
        if name in schema.transforms and schema.column_of(name) == column
    ]
    if names == [column] and column not in schema.transforms and not buckets:
        numbers = dense[:, schema.dense_features.index(column)]
        return [number_text(number, is_untransformed) for number in numbers]
    plain = NumberFeature(column, NoTransform() if is_untransformed else Log1p())
    is_criteo = schema.columns is None
    return ColumnFeatures(
        [
            (
                schema.transforms.get(name, plain),
                dense[:, schema.dense_features.index(name)],
            )
            for name in names
        ],
        [
            (schema.transforms[name], *_buckets(values_of[name], is_criteo))
            for name in buckets
        ],
        is_criteo,
    ).texts()


def _buckets(
    values: list[list[str]], are_hashes: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return buckets by their values, int64, and which are missing."""
    texts = [text or "0" for (text,) in values]
    if are_hashes:
        numbers = np.array([int(text, 16) for text in texts], np.uint32)
        buckets = numbers.astype(np.int32).astype(np.int64)
    else:
        buckets = np.array([int(text) for text in texts], np.int64)
    return buckets, np.array([text == "" for (text,) in values])


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
