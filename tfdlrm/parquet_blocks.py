"""Shards in Parquet, read by tensorflow-io: a column for every feature."""

from typing import Any

import tensorflow as tf

from tfdlrm.errors import InputError
from tfdlrm.remote_path import load_tensorflow_io
from tfdlrm.schema import FeatureSchema


def parquet_columns(schema: FeatureSchema) -> dict[str, tf.DType]:
    """The columns that a shard must have, without missing values.

    Args:
        schema: Schema of a data set with `record_format` `parquet`.

    Raises:
        InputError: If it has multi-hot features, whose lists tensorflow-io cannot read.

    Example:

    >>> from tfdlrm.schema import CategoricalFeature
    >>> parquet_columns(FeatureSchema(("I1",), (CategoricalFeature("C1", 10),)))
    {'label': tf.float32, 'I1': tf.float32, 'C1': tf.int32}
    """
    if schema.multi_hot:
        raise InputError(
            f"{schema.multi_hot[0]} has several values a row, which record_format "
            "parquet cannot hold: prepare the data with block or row"
        )
    floats = (schema.label, *schema.dense_features)
    return {
        **dict.fromkeys(floats, tf.float32),
        **dict.fromkeys(schema.single_hot, tf.int32),
    }


def parquet_blocks(
    path: tf.Tensor, schema: FeatureSchema, block_rows: int
) -> tf.data.Dataset:
    """The columns `(rows,)` of each block of a shard, by name.

    Args:
        path: The file.
        schema: Schema of its data set.
        block_rows: Rows of a block; the last takes what is left.
    """
    tfio: Any = load_tensorflow_io("a data set in Parquet")
    columns = {
        name: tf.TensorSpec([], dtype)
        for name, dtype in parquet_columns(schema).items()
    }
    return tfio.IODataset.from_parquet(path, columns=columns).batch(block_rows)
