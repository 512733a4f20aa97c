"""The speed at which a device multiplies large matrices, and that of its memory.

No training step can be faster than either of them allows.
"""

import tensorflow as tf

from benchmarks.laboratory.device import has_gpu
from benchmarks.laboratory.timing import time_calls

SIZES = (1024, 2048, 4096)
GPU_SIZES = (4096, 8192)
"""A GPU finishes with smaller matrices before the next call begins."""

VECTOR_NUMBERS = 1 << 26
"""Numbers in a vector of 268 MB, which no cache holds."""


def best_gflops(dtype: str, seconds: float) -> float:
    """Return 10^9 operations a second with the best of several sizes of matrices.

    Args:
        dtype: `float32` or `bfloat16`.
        seconds: Measure for this long in all, at least.
    """
    sizes = GPU_SIZES if has_gpu() else SIZES
    return max(_gflops(size, dtype, seconds / len(sizes)) for size in sizes)


def _gflops(size: int, dtype: str, seconds: float) -> float:
    first_matrix, second_matrix = (
        tf.cast(tf.random.normal((size, size)), dtype) for _ in range(2)
    )
    matmul = tf.function(tf.matmul)
    product = matmul(first_matrix, second_matrix)

    def multiply(i: int) -> None:
        nonlocal product
        product = matmul(first_matrix, second_matrix)

    stopwatch = time_calls(
        multiply, seconds, min_calls=3, wait=lambda: product[0, 0].numpy()
    )
    return 2 * size**3 / stopwatch.ms / 1e6


def gb_per_second(seconds: float) -> float:
    """Return 10^9 bytes a second that adding two large vectors reads and writes.

    Args:
        seconds: Measure for this long, at least.
    """
    total = tf.Variable(tf.zeros((VECTOR_NUMBERS,)))
    term = tf.ones((VECTOR_NUMBERS,))

    @tf.function
    def add() -> None:
        total.assign_add(term)

    stopwatch = time_calls(
        lambda i: add(), seconds, min_calls=3, wait=lambda: total[0].numpy()
    )
    return 3 * VECTOR_NUMBERS * term.dtype.size / stopwatch.ms / 1e6
