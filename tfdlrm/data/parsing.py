"""Parse records into columns inside a graph, in both formats of a data set."""

from typing import Any

import tensorflow as tf

from tfdlrm.data.block_format import (
    BagFields,
    Field,
    bag_fields,
    row_fields,
)
from tfdlrm.data.schema import FeatureSchema

_Columns = tuple[tf.Tensor, tf.Tensor, tf.Tensor, list[tf.RaggedTensor]]
"""Labels, dense features, ids of single-hot features, and bags of multi-hot ones."""


def block_spec(schema: FeatureSchema) -> dict[str, Any]:
    """Return the features with which `tf.io.parse_example` reads blocks."""
    bags = [bag_fields(name) for name in schema.multi_hot]
    fields = [*_row_fields(schema)]
    for bag in bags:
        fields += [bag.values, bag.lengths]
    return {field.name: tf.io.FixedLenFeature([], tf.string) for field in fields}


def _row_fields(schema: FeatureSchema) -> tuple[Field, Field, Field]:
    return row_fields(len(schema.dense_features), len(schema.single_hot))


def row_spec(schema: FeatureSchema) -> dict[str, Any]:
    """Return the features with which `tf.io.parse_example` reads records of one row.

    Args:
        schema: Schema of a data set with `record_format` `row`.

    Example:

    >>> from tfdlrm.data.schema import CategoricalFeature
    >>> spec = row_spec(FeatureSchema(("I1",), (CategoricalFeature("C1", 10),)))
    >>> sorted(spec), spec["C1"].dtype
    (['C1', 'I1', 'label'], tf.int64)
    """
    floats = (schema.label, *schema.dense_features)
    return {
        **{name: tf.io.FixedLenFeature([], tf.float32) for name in floats},
        **{name: tf.io.FixedLenFeature([], tf.int64) for name in schema.single_hot},
        **{name: tf.io.RaggedFeature(tf.int64) for name in schema.multi_hot},
    }


def parse_records(schema: FeatureSchema, records: Any, num_rows: tf.Tensor) -> Any:
    """Parse the features and labels of all rows of some records.

    Args:
        schema: Schema of the data set.
        records: Serialized records `(records,)`; in Parquet, columns `(rows,)` by name.
        num_rows: Number of rows in all records.

    Returns:
        `({"dense_features": (rows, n) float32, "categorical_features":
        (rows, features) int32}, label (rows, 1) float32)`. With multi-hot features, the
        ids of a row follow one another in a `tf.RaggedTensor` `(rows, None)`, and
        `num_ids` `(rows, features)` int32 is the number of ids of each feature;
        `assemble` turns them into bags.

    Raises:
        tf.errors.InvalidArgumentError: While it runs, if a record is not what the
            schema says.
    """
    parse = _parse_blocks if schema.record_format == "block" else _parse_rows
    label, dense, ids, bags = parse(schema, records, num_rows)
    sizes = schema.vocabulary_sizes
    checks = _checks(ids, sizes[: len(schema.single_hot)])
    for bag, size in zip(bags, sizes[len(schema.single_hot) :], strict=True):
        checks += _checks(bag.values[:, None], [size])
    with tf.control_dependencies(checks):
        ids = tf.cast(tf.identity(ids), tf.int32)
    features = {"dense_features": dense, "categorical_features": ids}
    if bags:
        features["categorical_features"], features["num_ids"] = side_by_side(ids, bags)
    return features, label


def side_by_side(
    ids: tf.Tensor, bags: list[tf.RaggedTensor]
) -> tuple[tf.RaggedTensor, tf.Tensor]:
    """Return the ids of each row, feature after feature, and the number of each.

    Args:
        ids: Ids of the single-hot features, int32 `(rows, features)`.
        bags: Bags of each multi-hot feature, `(rows, None)` with row splits in int32.

    Returns:
        int32 of shapes `(rows, None)` and `(rows, features)`.
    """
    lengths = [bag.row_lengths() for bag in bags]
    num_ids = tf.concat([tf.ones_like(ids), tf.stack(lengths, axis=1)], axis=1)
    starts = tf.cumsum(tf.reshape(num_ids, [-1]), exclusive=True)
    starts = tf.reshape(starts, tf.shape(num_ids))  # where the bags of each row begin
    width = ids.shape[1]
    positions, values = [starts[:, :width]], [ids]
    for column, bag in enumerate(bags, start=width):
        shift = starts[:, column] - bag.row_starts()
        positions.append(
            tf.range(tf.size(bag.values)) + tf.repeat(shift, bag.row_lengths())
        )
        values.append(tf.cast(bag.values, tf.int32))
    row_ids = tf.dynamic_stitch(positions, values)
    rows = tf.RaggedTensor.from_row_lengths(row_ids, tf.reduce_sum(num_ids, axis=1))
    return rows, num_ids


def bags_of(ids: tf.RaggedTensor, num_ids: tf.Tensor) -> tf.RaggedTensor:
    """Return a bag for each feature of each row, `(rows, features, None)`.

    Args:
        ids: The ids of each row, `(rows, None)`, as `side_by_side` returns them.
        num_ids: Number of ids of each feature, `(rows, features)`.
    """
    bags = tf.RaggedTensor.from_row_lengths(ids.values, tf.reshape(num_ids, [-1]))
    return tf.RaggedTensor.from_uniform_row_length(bags, num_ids.shape[1])


def assemble(features: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs of a model, from any rows of those of `parse_records`."""
    if "num_ids" not in features:
        return features
    ids = bags_of(features["categorical_features"], features["num_ids"])
    return {"dense_features": features["dense_features"], "categorical_features": ids}


def _parse_blocks(
    schema: FeatureSchema, records: tf.Tensor, num_rows: tf.Tensor
) -> _Columns:
    label, dense, ids = _row_fields(schema)
    bags = [bag_fields(name) for name in schema.multi_hot]
    blocks = tf.io.parse_example(records, block_spec(schema))
    rows = tf.strings.length(blocks[label.name]) // label.num_bytes(1)
    checks = [
        tf.debugging.assert_equal(
            tf.strings.length(blocks[field.name]),
            rows * field.num_bytes(1),
            f"{field.name} has another number of rows than label",
        )
        for field in (label, dense, ids, *(bag.lengths for bag in bags))
    ]
    with tf.control_dependencies(checks):
        columns = {
            name: tf.strings.reduce_join(block_values)
            for name, block_values in blocks.items()
        }

    def decode(field: Field) -> tf.Tensor:
        return tf.io.decode_raw(columns[field.name], tf.as_dtype(field.dtype))

    def decode_row_field(field: Field) -> tf.Tensor:
        return tf.reshape(decode(field), [num_rows, field.width])

    def decode_bags(bag: BagFields) -> tf.RaggedTensor:
        # Checks that lengths are not negative and add up to the number of values.
        return tf.RaggedTensor.from_row_lengths(decode(bag.values), decode(bag.lengths))

    return (
        decode_row_field(label),
        decode_row_field(dense),
        decode_row_field(ids),
        [decode_bags(bag) for bag in bags],
    )


def _parse_rows(schema: FeatureSchema, records: Any, num_rows: tf.Tensor) -> _Columns:
    values = records
    if schema.record_format == "row":
        values = tf.io.parse_example(records, row_spec(schema))

    def stack(names: list[str], dtype: tf.DType) -> tf.Tensor:
        if not names:
            return tf.zeros([num_rows, 0], dtype)
        return tf.stack([values[name] for name in names], axis=1)

    return (
        tf.reshape(values[schema.label], [num_rows, 1]),
        stack(list(schema.dense_features), tf.float32),
        stack(schema.single_hot, tf.int64),
        [values[name].with_row_splits_dtype(tf.int32) for name in schema.multi_hot],
    )


def _checks(ids: tf.Tensor, vocabulary_sizes: list[int]) -> list[Any]:
    """Return checks that all ids `(rows, features)` are in their vocabularies."""
    sizes = tf.constant(vocabulary_sizes, ids.dtype)
    message = "an id is outside of its vocabulary"
    return [
        tf.debugging.assert_non_negative(tf.reduce_min(ids, axis=0), message),
        tf.debugging.assert_less(tf.reduce_max(ids, axis=0), sizes, message),
    ]
