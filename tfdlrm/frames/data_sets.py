"""`tf.data` in front of an encoder."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from tfdlrm.base.errors import InputError
from tfdlrm.base.nearest import did_you_mean
from tfdlrm.data.parsing import bags_of
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.frames.arrow_values import arrow_values

Encode = Callable[[Mapping[str, Any]], dict[str, Any]]


def is_data_set(frame: Any) -> bool:
    """Return whether this is a `tf.data.Dataset`."""
    return isinstance(frame, tf.data.Dataset)


def all_columns(data_set: tf.data.Dataset) -> dict[str, pa.ChunkedArray]:
    """Return the columns of all batches of a data set.

    Raises:
        InputError: If its elements are no batches of columns, or there is none.
    """
    names = _names(data_set)
    chunks: dict[str, list[pa.Array]] = {name: [] for name in names}
    for element in data_set:
        columns = _columns(element)
        for name in names:
            chunks[name].append(arrow_values(_dense_or_ragged(columns[name]), name))
    if not chunks[names[0]]:
        raise InputError("the data set has no batch, expected rows to adapt to")
    return {name: pa.chunked_array(arrays) for name, arrays in chunks.items()}


def map_features(
    data_set: tf.data.Dataset,
    schema: FeatureSchema,
    encode: Encode,
    read_label: Callable[[Mapping[str, Any]], np.ndarray],
) -> tf.data.Dataset:
    """Return a data set with the features that a model takes.

    Args:
        data_set: Batches of columns by name, alone or as the first part of a tuple.
        schema: The columns.
        encode: From columns to features.
        read_label: From columns to labels `(rows, 1)`.

    Returns:
        The features and the other parts of each tuple; features and labels if elements
        are columns alone, among them the label; else features alone.

    Raises:
        InputError: If its elements are no batches of columns.
    """
    names = _names(data_set)
    _require_columns(names, schema)
    has_label = schema.label in names and not isinstance(data_set.element_spec, tuple)
    width = len(schema.categorical_features)
    ids = [tf.TensorSpec((None, width), tf.int32)]
    if schema.multi_hot:  # the ids of all bags, and the number of ids of each
        ids = [tf.TensorSpec((None,), tf.int32), *ids]
    specs = [tf.TensorSpec((None, len(schema.dense_features)), tf.float32), *ids]
    if has_label:
        specs.append(tf.TensorSpec((None, 1), tf.float32))

    def encode_batch(*tensors: Any) -> list[Any]:
        columns = dict(zip(names, tensors, strict=True))
        features = encode(columns)
        ids = features["categorical_features"]
        parts = [ids]
        if schema.multi_hot:
            num_ids = tf.reshape(ids.values.row_lengths(), (-1, width))
            parts = [ids.flat_values, tf.cast(num_ids, tf.int32)]
        parts = [features["dense_features"], *parts]
        return [*parts, read_label(columns)] if has_label else parts

    def encode_element(*element: Any) -> Any:
        columns = _columns(element)
        tensors = [_dense_or_ragged(columns[name]) for name in names]
        parts = tf.py_function(encode_batch, tensors, [spec.dtype for spec in specs])
        dense, *ids, label = [
            tf.ensure_shape(part, spec.shape)
            for part, spec in zip(parts, specs, strict=True)
        ] + ([] if has_label else [None])
        features = {"dense_features": dense, "categorical_features": ids[0]}
        if schema.multi_hot:
            of_rows = tf.RaggedTensor.from_row_lengths(
                ids[0], tf.reduce_sum(ids[1], axis=1)
            )
            features["categorical_features"] = bags_of(of_rows, ids[1])
        if has_label:
            return features, label
        return (features, *element[1:]) if len(element) > 1 else features

    return data_set.map(encode_element)


def _columns(element: Any) -> Mapping[str, Any]:
    columns: Mapping[str, Any] = element[0] if isinstance(element, tuple) else element
    return columns


def _names(data_set: tf.data.Dataset) -> list[str]:
    """Return the names of the columns of a data set, whose elements are checked."""
    specs = _columns(data_set.element_spec)
    if not isinstance(specs, Mapping) or not specs:
        raise InputError(
            f"the data set has elements {data_set.element_spec}, expected dictionaries "
            "of columns by name, or tuples that begin with one"
        )
    for name, spec in specs.items():
        rank = spec.shape.rank
        if rank == 0:
            raise InputError(
                f"column {name!r} of the data set is one value, expected a batch of "
                "rows: call .batch(256) first"
            )
    return list(specs)


def _require_columns(names: list[str], schema: FeatureSchema) -> None:
    for name in schema.raw_columns:
        if name not in names:
            there = ", ".join(map(repr, names))
            raise InputError(
                f"the data set has no column {name!r}, expected one: it has "
                f"{there}{did_you_mean(name, names)}"
            )


def _dense_or_ragged(values: Any) -> Any:
    is_sparse = isinstance(values, tf.SparseTensor)
    return tf.RaggedTensor.from_sparse(values) if is_sparse else values
