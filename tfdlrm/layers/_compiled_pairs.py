"""The pairwise products of a training step, compiled by XLA for TensorFlow.

TensorFlow gathers the triangle of the products one number at a time, and its gradient
transposes them twice and multiplies matrices once more than it need. XLA makes both
one pass over memory.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import tensorflow as tf


def compiled_pairs(
    num_vectors: int, places: np.ndarray
) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function from vectors `(batch, n, dim)` to products `(batch, pairs)`.

    It is compiled once for each size of a batch.

    Args:
        num_vectors: The number of vectors, `n`.
        places: Of each pair, its place in the flattened matrix of products.
    """
    matrix = (num_vectors, num_vectors)
    rows, columns = np.unravel_index(places, matrix)
    # For each place in the matrix, the pair that is there or across the diagonal; a
    # place without one takes the zero that is put behind the last pair.
    pair_at = np.full(matrix, len(places))
    pair_at[rows, columns] = pair_at[columns, rows] = np.arange(len(places))
    # On the diagonal a vector is both factors of its product.
    factors = 1 + np.eye(num_vectors)
    has_diagonal = len(places) > num_vectors * (num_vectors - 1) // 2

    @tf.function(jit_compile=True)
    def triangle(products: tf.Tensor) -> tf.Tensor:
        return tf.gather(tf.reshape(products, (-1, pair_at.size)), places, axis=1)

    @tf.function(jit_compile=True)
    def symmetric(gradients: tf.Tensor) -> tf.Tensor:
        padded = tf.pad(gradients, [[0, 0], [0, 1]])
        filled = tf.gather(padded, pair_at.ravel(), axis=1)
        filled = tf.reshape(filled, (-1, *matrix))
        return filled * tf.cast(factors, filled.dtype) if has_diagonal else filled

    def forward(vectors: tf.Tensor) -> tf.Tensor:
        return triangle(tf.matmul(vectors, vectors, transpose_b=True))

    def backward(vectors: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
        return tf.matmul(symmetric(gradients), vectors)

    half_forward = tf.function(forward, jit_compile=True)
    half_backward = tf.function(backward, jit_compile=True)

    @tf.custom_gradient
    def pairs(vectors: tf.Tensor) -> tuple[tf.Tensor, Callable[..., tf.Tensor]]:
        # In 16 bits XLA's matrix products are as fast as TensorFlow's own and spare a
        # pass over memory; in 32 bits they are slower.
        if vectors.dtype.size == 2:
            return half_forward(vectors), partial(half_backward, vectors)
        return forward(vectors), partial(backward, vectors)

    return pairs
