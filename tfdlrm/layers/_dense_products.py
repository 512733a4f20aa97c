"""A dense layer of a training step for TensorFlow, with a gradient of its own.

On processors TensorFlow sums a bias' gradient in a slow pass (slowest in 16 bits), and
multiplies matrices of any width as they are, although widths that do not fill a
vector register cost a fifth more. GPUs have neither problem: there a product with ones
would round a bias' gradient to TF32 where TF32 is allowed, and padding takes three more
kernels a layer.
"""

from collections.abc import Callable

import tensorflow as tf

from tfdlrm.layers._devices import has_gpu

LANES = 16
"""Numbers of 32 bits in the widest vector register."""


def dense_products(
    inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, has_relu: bool
) -> tf.Tensor:
    """Return `inputs @ kernel + bias`, followed by a ReLU if `has_relu`.

    Args:
        inputs: Shape `(batch, inputs)`.
        kernel: Shape `(inputs, units)`.
        bias: Shape `(units,)`.

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
        # Three operations, since TensorFlow fuses them.
        outputs = tf.nn.bias_add(tf.matmul(inputs, kernel), bias)
        if has_relu:
            outputs = tf.nn.relu(outputs)

        def backward(gradient: tf.Tensor) -> tuple[tf.Tensor, ...]:
            if has_relu:
                gradient = tf.raw_ops.ReluGrad(gradients=gradient, features=outputs)
            return (
                _times_transposed(gradient, kernel),
                tf.matmul(inputs, gradient, transpose_a=True),
                _sum_of_rows(gradient),
            )

        return outputs, backward

    return forward(inputs, kernel, bias)


def _sum_of_rows(gradient: tf.Tensor) -> tf.Tensor:
    """Return the sum of `gradient` over the batch, `(units,)`."""
    if has_gpu():
        return tf.raw_ops.BiasAddGrad(out_backprop=gradient)
    ones = tf.ones((1, tf.shape(gradient)[0]), gradient.dtype)
    return tf.matmul(ones, gradient)[0]


def _times_transposed(gradient: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Return `gradient @ kernel.T`, `(batch, inputs)`."""
    width = kernel.shape[0]
    padding = -width % LANES
    # In 16 bits every width is as fast.
    if not padding or kernel.dtype.size < 4 or has_gpu():
        return tf.matmul(gradient, kernel, transpose_b=True)
    padded = tf.pad(kernel, [[0, padding], [0, 0]])
    return tf.matmul(gradient, padded, transpose_b=True)[:, :width]
