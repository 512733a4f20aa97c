"""The pairwise products of a training step, compiled by XLA for TensorFlow.

TensorFlow gathers the triangle of the products one number at a time; its gradient
transposes them twice and does one matrix product too many. XLA makes each direction one
pass over memory.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import tensorflow as tf


def compile_pairs(
    num_vectors: int, positions: np.ndarray
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a function from vectors `(batch, n, dim)` to products `(batch, pairs)`.

    XLA compiles it once for each batch size.

    Args:
        num_vectors: The number of vectors, `n`.
        positions: Position of each pair in the flattened matrix of products.
    """
    matrix = (num_vectors, num_vectors)
    rows, columns = np.unravel_index(positions, matrix)
    # For each position in the matrix, its pair or the one across the diagonal; a
    # position without a pair takes the zero that `symmetric` appends to the pairs.
    pair_at = np.full(matrix, len(positions))
    pair_at[rows, columns] = pair_at[columns, rows] = np.arange(len(positions))
    # On the diagonal a vector is both factors of its product.
    factors = 1 + np.eye(num_vectors)
    has_diagonal = len(positions) > num_vectors * (num_vectors - 1) // 2

    @tf.function(jit_compile=True)
    def triangle(products: tf.Tensor) -> tf.Tensor:
        return tf.gather(tf.reshape(products, (-1, pair_at.size)), positions, axis=1)

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
        # In 16 bits XLA's matrix products are as fast as TensorFlow's own and save a
        # pass over memory; in 32 bits they are slower.
        if vectors.dtype.size == 2:
            return half_forward(vectors), partial(half_backward, vectors)
        return forward(vectors), partial(backward, vectors)

    return pairs
