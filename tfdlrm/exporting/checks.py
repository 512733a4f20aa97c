"""Checks inside a served graph: what cannot be scored is an error, not a number."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfdlrm.data.schema import FeatureSchema

PADDING_ID = -1
"""Fills a multi-hot input behind the ids of a bag."""


def check(is_good: tf.Tensor, explain: Callable[[], tf.Tensor]) -> None:
    """Raise `InvalidArgumentError` while the graph runs, unless all is good.

    Args:
        is_good: Booleans of any shape.
        explain: Returns the message; runs only when the check fails.
    """

    def refuse() -> Any:
        return tf.debugging.Assert(False, [explain()])

    tf.cond(tf.reduce_all(is_good), tf.no_op, refuse)


def check_values(
    values: tf.Tensor, is_good: tf.Tensor, names: Sequence[str], expected: str
) -> None:
    """Check values; the error names the column, row and value of the first bad one.

    Args:
        values: Text or numbers `(batch, columns)`, or with more dimensions.
        is_good: Whether each value is good; the same shape as `values`.
        names: Names of the columns.
        expected: A phrase for the message, such as `a finite number`.
    """

    def explain() -> tf.Tensor:
        position = tf.where(tf.logical_not(is_good))[0]
        value = tf.gather_nd(values, position)
        text = value
        if text.dtype != tf.string:
            text = tf.strings.as_string(value, shortest=value.dtype.is_floating)
        # A message is text: bytes outside UTF-8 break the programs that pass it on.
        text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8")
        text = tf.strings.substr(text, 0, 40, unit="UTF8_CHAR")
        name = tf.gather(tf.constant(names, tf.string), position[1])
        row = tf.strings.as_string(position[0])
        # The error would escape single or double quotes.
        return tf.strings.join(
            [name, " of row ", row, " is `", text, f"`, expected {expected}"]
        )

    if names:
        check(is_good, explain)


def check_features(
    schema: FeatureSchema, dense: tf.Tensor, ids: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Check features as a client of `serving_default` sends them, and return them.

    Args:
        schema: The columns.
        dense: Expected to be float32 `(batch, n)`.
        ids: Expected to be int64 `(batch, features)`, or `(batch, features, width)`
            with `PADDING_ID` behind the ids of a bag.

    Raises:
        tf.errors.InvalidArgumentError: While the graph runs, if a shape differs from
            the expected one, the inputs have different numbers of rows, a dense feature
            is not finite or an id is outside the vocabulary of its column.
    """
    names = [feature.name for feature in schema.categorical_features]
    # TensorFlow does not check that a fed value has the shape of its placeholder.
    dense = tf.ensure_shape(dense, [None, len(schema.dense_features)])
    bag = [None] if schema.multi_hot else []
    ids = tf.ensure_shape(ids, [None, len(names), *bag])
    rows = tf.shape(dense)[0], tf.shape(ids)[0]
    message = "dense_features has {} rows, categorical_features {}, expected as many"
    check(rows[0] == rows[1], lambda: tf.strings.format(message, rows))
    is_finite = tf.math.is_finite(dense)
    check_values(dense, is_finite, schema.dense_features, "a finite number")
    sizes = np.array(schema.vocabulary_sizes, np.int64)
    lowest = PADDING_ID if bag else 0
    is_known = (ids >= lowest) & (ids < (sizes[:, None] if bag else sizes))
    check_values(ids, is_known, names, "an id of its vocabulary")
    return {"dense_features": dense, "categorical_features": ids}
