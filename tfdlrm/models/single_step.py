"""A single training step, without the overhead of several in one execution."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def single_step(
    step: Callable[[Any], Any], keras_function: Callable[[Any], Any]
) -> Callable[[Any], Any]:
    """Return a `train_function` for Keras: one step on the next batch of an iterator.

    Keras' own wraps the result of a step in an optional value and unwraps it in two
    more calls, which is a tenth of a step of 128 rows.

    Args:
        step: Function from a batch to the values of the metrics.
        keras_function: Keras' function, for iterators that are not TensorFlow's.

    Returns:
        Function from an iterator to the values of the metrics. After the last batch it
        raises `tf.errors.OutOfRangeError`, at which `fit` ends the epoch.
    """

    @tf.autograph.experimental.do_not_convert
    def on_iterator(iterator: Any) -> Any:
        return step(iterator.get_next())

    compiled = tf.function(on_iterator, reduce_retracing=True)

    def function(iterator: Any) -> Any:
        if isinstance(iterator, tf.data.Iterator):
            return compiled(iterator)
        return keras_function(iterator)

    return function
