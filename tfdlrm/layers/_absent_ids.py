"""Ids out of range, for TensorFlow: refused, or their vectors made zero.

On processors zeros are written where ids are absent, which is hardly ever. A mask
would read and write every vector of a batch, twice in a training step.
"""

from collections.abc import Callable

import tensorflow as tf

from tfdlrm.layers._devices import has_gpu


def are_out_of_range(ids: tf.Tensor, sizes: tf.Tensor) -> tf.Tensor:
    """Return where ids are negative or not below `sizes`.

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
    """Return `values` with zeros where `is_absent`, which get no gradient.

    TensorFlow does it in place where nothing else reads `values`.

    Args:
        values: Tensor of any shape.
        is_absent: Booleans of the shape of its first dimensions.

    Example:

    >>> is_absent = tf.constant([False, True])
    >>> with_zeros_where(tf.ones((2, 2, 1)), is_absent).numpy().tolist()
    [[[1.0], [1.0]], [[0.0], [0.0]]]
    """
    if values.dtype.size == 2 or has_gpu():
        # On GPUs there is no kernel that writes to places of 16-bit numbers: the
        # vectors of a batch would go to the CPU and back. With other numbers the host
        # would wait for how many places there are.
        missing = values.shape.rank - is_absent.shape.rank
        mask = tf.reshape(is_absent, tf.concat([tf.shape(is_absent), [1] * missing], 0))
        return tf.where(mask, tf.zeros([], values.dtype), values)
    places = tf.where(is_absent)
    zeros = tf.zeros(
        (tf.shape(places)[0], *values.shape[is_absent.shape.rank :]), values.dtype
    )

    @tf.custom_gradient
    def forward(values: tf.Tensor) -> tuple[tf.Tensor, Callable[..., tf.Tensor]]:
        def backward(gradients: tf.Tensor) -> tf.Tensor:
            return tf.tensor_scatter_nd_update(gradients, places, zeros)

        return tf.tensor_scatter_nd_update(values, places, zeros), backward

    return forward(values)


def refused(ids: tf.Tensor, sizes: tf.Tensor, name: str) -> tf.Tensor:
    """The ids, after a check that none is out of range.

    Args:
        ids: int32 or int64 tensor of any shape.
        sizes: Tensor of that type, broadcastable to it.
        name: Whose ids they are, for the message.

    Raises:
        tf.errors.InvalidArgumentError: If one is; the message names the first.
    """
    places = tf.where(are_out_of_range(ids, sizes))
    first = places[:1]  # nothing, if all is well
    limits = tf.gather_nd(tf.broadcast_to(sizes, tf.shape(ids)), first) - 1
    message = tf.strings.format(
        f"{name}: the id at {{}} is {{}}, expected 0 to {{}}",
        (first, tf.gather_nd(ids, first), limits),
    )
    check = tf.Assert(tf.equal(tf.size(places), 0), [message])
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(ids)
