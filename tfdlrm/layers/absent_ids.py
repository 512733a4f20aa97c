"""Vectors of absent ids made zero, for TensorFlow, at the cost of the absent ones.

A product with a mask would read and write every vector of a batch, twice in a training
step, though hardly ever is an id absent.
"""

from collections.abc import Callable

import tensorflow as tf


def places_out_of_range(ids: tf.Tensor, sizes: tf.Tensor) -> tf.Tensor:
    """Where ids are negative or not below `sizes`.

    Args:
        ids: int32 or int64 tensor of any shape.
        sizes: Tensor of that type, broadcastable to it.

    Returns:
        int64 indices `(number, rank of ids)`.

    Example:

    >>> places_out_of_range(tf.constant([[4, -1], [5, 0]]), tf.constant([5, 1])).numpy()
    array([[0, 1],
           [1, 0]])
    """
    # Read as unsigned numbers negative ones are the largest: one comparison does.
    unsigned = tf.uint32 if ids.dtype == tf.int32 else tf.uint64
    is_out = tf.bitcast(ids, unsigned) >= tf.bitcast(sizes, unsigned)
    return tf.where(is_out)


def with_zeros_at(values: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """`values` with zeros at `places`, which get no gradient.

    TensorFlow does it in place where nothing else reads `values`.

    Args:
        values: Tensor of any shape.
        places: Indices `(number, n)` of its first `n` dimensions.

    Example:

    >>> with_zeros_at(tf.ones((2, 2, 1)), tf.constant([[1, 0]])).numpy().tolist()
    [[[1.0], [1.0]], [[0.0], [1.0]]]
    """
    rest = values.shape[places.shape[1] :]
    zeros = tf.zeros((tf.shape(places)[0], *rest), values.dtype)

    @tf.custom_gradient
    def forward(values: tf.Tensor) -> tuple[tf.Tensor, Callable[..., tf.Tensor]]:
        def backward(gradients: tf.Tensor) -> tf.Tensor:
            return tf.tensor_scatter_nd_update(gradients, places, zeros)

        return tf.tensor_scatter_nd_update(values, places, zeros), backward

    return forward(values)
