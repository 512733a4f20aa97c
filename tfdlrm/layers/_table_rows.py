"""Rows of table variables, read and written in place, for TensorFlow."""

from typing import Any

import tensorflow as tf


def write_rows(variable: tf.Variable, rows: Any, values: Any) -> None:
    """Write `values` to `rows` of `variable`, in place."""
    rows = tf.convert_to_tensor(rows)
    if variable.dtype == tf.bool and rows.dtype != tf.int32:
        # On GPUs there is no kernel for bool values and int64 rows; a row has one.
        # TensorFlow's optimizer would move the cast before the reshape that rows come
        # from, and GPUs reshape int32 in the memory of the host: hence the maximum.
        rows = tf.cast(tf.maximum(rows, 0), tf.int32)
    tf.raw_ops.ResourceScatterUpdate(
        resource=variable.handle, indices=rows, updates=values
    )


def own_copy(variable: tf.Variable) -> tf.Variable:
    """Return this replica's copy of a variable that a strategy has copies of.

    `tf.nn.embedding_lookup` reads all of a mirrored variable, and only some rows of an
    ordinary one.
    """
    if isinstance(variable, tf.distribute.DistributedValues):
        return variable._get()  # public only in part: `handle`, without the gradient
    return variable
