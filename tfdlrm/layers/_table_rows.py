"""Read and write rows of table variables in place, for TensorFlow."""

from typing import Any

import tensorflow as tf


def write_rows(variable: tf.Variable, rows: Any, values: Any) -> None:
    """Write `values` to `rows` of `variable`, in place."""
    rows = tf.convert_to_tensor(rows)
    if variable.dtype == tf.bool and rows.dtype != tf.int32:
        # GPUs have no kernel for bool values and int64 rows. The maximum keeps
        # TensorFlow's graph optimizer from moving the cast before the reshape that
        # `rows` comes from: GPUs reshape int32 in the memory of the host.
        rows = tf.cast(tf.maximum(rows, 0), tf.int32)
    tf.raw_ops.ResourceScatterUpdate(
        resource=variable.handle, indices=rows, updates=values
    )


def own_copy(variable: tf.Variable) -> tf.Variable:
    """Return this replica's copy of a variable that a strategy mirrors.

    `tf.nn.embedding_lookup` reads all of a mirrored variable, and only some rows of an
    ordinary one.
    """
    if isinstance(variable, tf.distribute.DistributedValues):
        return variable._get()  # public only in part: `handle`, without the gradient
    return variable
