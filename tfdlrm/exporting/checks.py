"""Checks inside a served graph: what cannot be scored is an error, not a number."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfdlrm.data.schema import FeatureSchema

PADDING_ID = -1
"""Stands in the places of a multi-hot input that a bag does not fill."""


def check(is_good: tf.Tensor, explain: Callable[[], tf.Tensor]) -> None:
    """Raise `InvalidArgumentError` while the graph runs, unless all is good.

    Args:
        is_good: Booleans of any shape.
        explain: Gives the message; runs only when it is needed.
    """

    def refuse() -> Any:
        return tf.debugging.Assert(False, [explain()])

    tf.cond(tf.reduce_all(is_good), tf.no_op, refuse)


def check_values(
    values: tf.Tensor, is_good: tf.Tensor, names: Sequence[str], expected: str
) -> None:
    """Name the column, the row and the value of the first bad one.

    Args:
        values: Text or numbers `(batch, columns)`, or with more dimensions.
        is_good: Which of them are good, of the same shape.
        names: The columns' names.
        expected: What was expected, in words.
    """

    def explain() -> tf.Tensor:
        place = tf.where(tf.logical_not(is_good))[0]
        value = tf.gather_nd(values, place)
        text = value
        if text.dtype != tf.string:
            text = tf.strings.as_string(value, shortest=value.dtype.is_floating)
        # A message is text: what is not UTF-8 breaks the programs that pass it on.
        shown = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8")
        shown = tf.strings.substr(shown, 0, 40, unit="UTF8_CHAR")
        name, row = (
            tf.gather(tf.constant(names, tf.string), place[1]),
            tf.strings.as_string(place[0]),
        )
        # Quotes of other kinds would be escaped in the error.
        return tf.strings.join(
            [name, " of row ", row, " is `", shown, f"`, expected {expected}"]
        )

    if names:
        check(is_good, explain)


def checked_features(
    schema: FeatureSchema, dense: tf.Tensor, ids: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Features as a client of `serving_default` sent them, having checked them.

    Args:
        schema: The columns.
        dense: Claims to be float32 `(batch, n)`.
        ids: Claims to be int64 `(batch, features)`, or `(batch, features, width)` with
            `PADDING_ID` in the places that a bag does not fill.

    Raises:
        tf.errors.InvalidArgumentError: While the graph runs, if a shape is another, the
            two have different numbers of rows, a dense feature is not finite or an id
            is not one of its column's.
    """
    names = [feature.name for feature in schema.categorical_features]
    # What is fed is not held to the shape of the placeholder that it is fed to.
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
