"""Batches of several passes side by side, for the members of an ensemble."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfdlrm.data.reading import without_tuning


def side_by_side(passes: Sequence[tf.data.Dataset]) -> tf.data.Dataset:
    """Return batches whose columns are those of a batch of each pass, in turn.

    Args:
        passes: Batches of `read_split` over the same rows, each in its own order.

    Returns:
        A data set of `({"dense_features": (batch, passes * n) float32,
        "categorical_features": (batch, passes * features) int32}, label (batch, passes)
        float32)`; the pass itself if there is only one.
    """
    if len(passes) == 1:
        return passes[0]

    @tf.autograph.experimental.do_not_convert
    def join(*batches: Any) -> Any:
        features = [features for features, _ in batches]
        joined = {
            name: _join([part[name] for part in features]) for name in features[0]
        }
        return joined, tf.concat([label for _, label in batches], axis=1)

    batches = tf.data.Dataset.zip(tuple(passes)).map(join)
    return batches.prefetch(tf.data.AUTOTUNE).with_options(without_tuning())


def _join(columns: Sequence[Any]) -> Any:
    """Return columns `(batch, n)` or bags `(batch, n, None)` of several passes."""
    if not isinstance(columns[0], tf.RaggedTensor):
        return tf.concat(columns, axis=1)
    width = columns[0].shape[1] * len(columns)
    # Row by row: the bags of the first pass, then those of the second.
    bags = tf.concat(columns, axis=1)
    return tf.RaggedTensor.from_uniform_row_length(bags.values, width)
