"""Read shards in Parquet with tensorflow-io: a column for every feature."""

import tensorflow as tf

from tfdlrm.base.remote_path import load_tensorflow_io
from tfdlrm.data.parquet_files import column_types
from tfdlrm.data.schema import ROW_GROUP_ROWS, FeatureSchema


def parquet_columns(schema: FeatureSchema) -> dict[str, tf.DType]:
    """Return the columns that a shard must have; they have no missing values.

    Args:
        schema: Schema of a data set with `record_format` `parquet`.

    Example:

    >>> from tfdlrm.data.schema import CategoricalFeature
    >>> parquet_columns(FeatureSchema(("I1",), (CategoricalFeature("C1", 10),)))
    {'label': tf.float32, 'I1': tf.float32, 'C1': tf.int32}
    """
    dtypes = {"float": tf.float32, "int32": tf.int32}
    return {name: dtypes[type_name] for name, type_name in column_types(schema).items()}


def parquet_blocks(
    path: tf.Tensor, schema: FeatureSchema, block_rows: int
) -> tf.data.Dataset:
    """Read the columns `(rows,)` of each block of a shard, by name.

    Args:
        path: Path of the shard.
        schema: Schema of the data set.
        block_rows: Rows of a block; the last block has the remaining rows.
    """
    load_tensorflow_io("a data set in Parquet")
    # `IODataset.from_parquet` joins a data set for each column row by row, which takes
    # about forty times as long (`python -m benchmarks.read`).
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

    # Read whole row groups: every read begins at the start of one, even of few rows.
    groups = tf.data.Dataset.range(0, num_rows, ROW_GROUP_ROWS).map(read)
    return groups.rebatch(block_rows)
