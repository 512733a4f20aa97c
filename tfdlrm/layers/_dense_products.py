"""A dense layer of a training step for TensorFlow, with a gradient of its own.

TensorFlow's gradient adds up a bias' gradient in a slow pass (in 16 bits above all),
and multiplies by matrices of whatever width, where widths that do not fill a vector
register cost a fifth more.
"""

from collections.abc import Callable

import tensorflow as tf

LANES = 16
"""Numbers of 32 bits in the widest vector register."""


def dense_products(
    inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, has_relu: bool
) -> tf.Tensor:
    """`inputs @ kernel + bias`, and its ReLU where asked for.

    Args:
        inputs: Shape `(batch, inputs)`.
        kernel: Shape `(inputs, units)`.
        bias: Shape `(units,)`.
        has_relu: Whether a ReLU follows.

    Returns:
        Shape `(batch, units)`.

    Example:

    >>> kernel, bias = tf.constant([[1.0, -1.0]]), tf.constant([0.5, 0.5])
    >>> dense_products(tf.constant([[2.0]]), kernel, bias, has_relu=True).numpy()
    array([[2.5, 0. ]], dtype=float32)
    """

    @tf.custom_gradient
    def forward(
        inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[..., tuple[tf.Tensor, ...]]]:
        # Left as three operations, which TensorFlow fuses.
        outputs = tf.nn.bias_add(tf.matmul(inputs, kernel), bias)
        if has_relu:
            outputs = tf.nn.relu(outputs)

        def backward(gradient: tf.Tensor) -> tuple[tf.Tensor, ...]:
            if has_relu:
                gradient = tf.raw_ops.ReluGrad(gradients=gradient, features=outputs)
            ones = tf.ones((1, tf.shape(gradient)[0]), gradient.dtype)
            return (
                _times_transposed(gradient, kernel),
                tf.matmul(inputs, gradient, transpose_a=True),
                tf.matmul(ones, gradient)[0],
            )

        return outputs, backward

    return forward(inputs, kernel, bias)


def _times_transposed(gradient: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """`gradient @ kernel.T`, `(batch, inputs)`."""
    width = kernel.shape[0]
    missing = -width % LANES
    if not missing or kernel.dtype.size < 4:  # in 16 bits every width is as fast
        return tf.matmul(gradient, kernel, transpose_b=True)
    padded = tf.pad(kernel, [[0, missing], [0, 0]])
    return tf.matmul(gradient, padded, transpose_b=True)[:, :width]
