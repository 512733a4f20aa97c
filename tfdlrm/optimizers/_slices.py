"""Sparse gradients that Keras can divide, and those of several devices."""

from typing import Any

import tensorflow as tf


def divisible(gradient: Any) -> Any:
    """Return a sparse gradient that Keras can divide by a number."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    return _Slices(gradient.values, gradient.indices, gradient.dense_shape)


class _Slices(tf.IndexedSlices):
    """A sparse gradient that can be divided by a number."""

    def __truediv__(self, divisor: float) -> tf.IndexedSlices:
        return tf.IndexedSlices(self.values / divisor, self.indices, self.dense_shape)


def concatenate(gradients: Any) -> tf.IndexedSlices:
    """Concatenate the sparse gradients of several devices."""
    return tf.IndexedSlices(
        tf.concat([gradient.values for gradient in gradients], axis=0),
        tf.concat([gradient.indices for gradient in gradients], axis=0),
    )
