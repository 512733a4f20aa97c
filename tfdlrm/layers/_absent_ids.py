"""Ids out of range, for TensorFlow: an error, or vectors of zeros.

On processors zeros are written only where ids are absent, which is rare. A mask would
read and write every vector of a batch, twice in a training step.
"""

from collections.abc import Callable

import tensorflow as tf

from tfdlrm.layers._devices import has_gpu


def are_out_of_range(ids: tf.Tensor, sizes: tf.Tensor) -> tf.Tensor:
    """Return which ids are negative or not below `sizes`.

    Args:
        ids: int32 or int64 tensor of any shape.
        sizes: Tensor of that type, broadcastable to it.

    Returns:
        Booleans of the shape of `ids`.

    Example:

    >>> are_out_of_range(tf.constant([[4, -1], [5, 0]]), tf.constant([5, 1])).numpy()
    array([[False,  True],
           [ True, False]])
    """
    return tf.logical_or(ids < 0, ids >= sizes)


def with_zeros_where(values: tf.Tensor, is_absent: tf.Tensor) -> tf.Tensor:
    """Return `values` with zeros where `is_absent`; the zeros get no gradient.

    TensorFlow writes in place if nothing else reads `values`.

    Args:
        values: Tensor of any shape.
        is_absent: Booleans of the shape of its first dimensions.

    Example:

    >>> is_absent = tf.constant([False, True])
    >>> with_zeros_where(tf.ones((2, 2, 1)), is_absent).numpy().tolist()
    [[[1.0], [1.0]], [[0.0], [0.0]]]
    """
    if values.dtype.size == 2 or has_gpu():
        # GPUs have no kernel that scatters 16-bit numbers: the vectors of a batch would
        # go to the CPU and back. With wider numbers the host would wait until it knows
        # how many positions there are.
        num_value_axes = values.shape.rank - is_absent.shape.rank
        mask = tf.reshape(
            is_absent, tf.concat([tf.shape(is_absent), [1] * num_value_axes], 0)
        )
        return tf.where(mask, tf.zeros([], values.dtype), values)
    positions = tf.where(is_absent)
    zeros = tf.zeros(
        (tf.shape(positions)[0], *values.shape[is_absent.shape.rank :]), values.dtype
    )

    @tf.custom_gradient
    def forward(values: tf.Tensor) -> tuple[tf.Tensor, Callable[..., tf.Tensor]]:
        def backward(gradients: tf.Tensor) -> tf.Tensor:
            return tf.tensor_scatter_nd_update(gradients, positions, zeros)

        return tf.tensor_scatter_nd_update(values, positions, zeros), backward

    return forward(values)


def check_range(ids: tf.Tensor, sizes: tf.Tensor, name: str) -> tf.Tensor:
    """Return the ids after a check that all of them are in range.

    Args:
        ids: int32 or int64 tensor of any shape.
        sizes: Tensor of that type, broadcastable to it.
        name: The layer, for the message.

    Raises:
        tf.errors.InvalidArgumentError: If an id is out of range; the message names the
            first.
    """
    positions = tf.where(are_out_of_range(ids, sizes))
    first_position = positions[:1]  # empty if all are in range
    limits = tf.gather_nd(tf.broadcast_to(sizes, tf.shape(ids)), first_position) - 1
    message = tf.strings.format(
        f"{name}: the id at {{}} is {{}}, expected 0 to {{}}",
        (first_position, tf.gather_nd(ids, first_position), limits),
    )
    check = tf.Assert(tf.equal(tf.size(positions), 0), [message])
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(ids)
