"""Shards in Parquet, read by tensorflow-io: a column for every feature."""

import tensorflow as tf

from tfdlrm.base.remote_path import load_tensorflow_io
from tfdlrm.data.parquet_files import column_types
from tfdlrm.data.schema import ROW_GROUP_ROWS, FeatureSchema


def parquet_columns(schema: FeatureSchema) -> dict[str, tf.DType]:
    """The columns that a shard must have, without missing values.

    Args:
        schema: Schema of a data set with `record_format` `parquet`.

    Example:

    >>> from tfdlrm.data.schema import CategoricalFeature
    >>> parquet_columns(FeatureSchema(("I1",), (CategoricalFeature("C1", 10),)))
    {'label': tf.float32, 'I1': tf.float32, 'C1': tf.int32}
    """
    dtypes = {"float": tf.float32, "int32": tf.int32}
    return {name: dtypes[kind] for name, kind in column_types(schema).items()}


def parquet_blocks(
    path: tf.Tensor, schema: FeatureSchema, block_rows: int
) -> tf.data.Dataset:
    """The columns `(rows,)` of each block of a shard, by name.

    Args:
        path: The file.
        schema: Schema of its data set.
        block_rows: Rows of a block; the last takes what is left.
    """
    load_tensorflow_io("a data set in Parquet")
    # `IODataset.from_parquet` has a data set for each column and joins them row by row,
    # which takes some forty times as long (`python -m benchmarks.read`).
    from tensorflow_io.python.ops import core_ops

    file = {"input": path, "shared": path, "container": "tfdlrm"}
    _, shapes, _ = core_ops.io_parquet_readable_info(**file)
    num_rows = shapes[0, 0]

    def read(start: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            name: core_ops.io_parquet_readable_read(
                **file,
                component=name,
                shape=[num_rows],
                start=start,
                stop=tf.minimum(start + ROW_GROUP_ROWS, num_rows),
                dtype=dtype,
            )
            for name, dtype in parquet_columns(schema).items()
        }

    # A read begins at the start of its row group, however few rows it takes.
    groups = tf.data.Dataset.range(0, num_rows, ROW_GROUP_ROWS).map(read)
    return groups.rebatch(block_rows)
