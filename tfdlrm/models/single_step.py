"""A training step that Keras runs alone, without what only several at once need."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def single_step(
    step: Callable[[Any], Any], otherwise: Callable[[Any], Any]
) -> Callable[[Any], Any]:
    """One step on the next batch of an iterator, as Keras' `train_function`.

    Keras' own wraps what a step returns into an optional value and unwraps it again
    in two more calls, which is a tenth of a step of 128 rows.

    Args:
        step: From a batch to the values of the metrics.
        otherwise: Keras' function, for iterators that are not TensorFlow's.

    Returns:
        Function from an iterator to the values of the metrics. It raises
        `tf.errors.OutOfRangeError` after the last batch, which `fit` knows to be the
        end.
    """

    @tf.autograph.experimental.do_not_convert
    def on_iterator(iterator: Any) -> Any:
        return step(iterator.get_next())

    compiled = tf.function(on_iterator, reduce_retracing=True)

    def function(iterator: Any) -> Any:
        if isinstance(iterator, tf.data.Iterator):
            return compiled(iterator)
        return otherwise(iterator)

    return function
