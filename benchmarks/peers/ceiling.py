"""How fast the machine multiplies large matrices: no training step can be faster."""

import tensorflow as tf

from benchmarks.laboratory.timing import time_calls

SIZES = (1024, 2048, 4096)


def best_gflops(dtype: str, seconds: float) -> float:
    """10^9 operations a second, of the best of several sizes of matrices.

    Args:
        dtype: `float32` or `bfloat16`.
        seconds: Measure for this long in all, at least.
    """
    return max(_gflops(size, dtype, seconds / len(SIZES)) for size in SIZES)


def _gflops(size: int, dtype: str, seconds: float) -> float:
    left, right = (tf.cast(tf.random.normal((size, size)), dtype) for _ in range(2))
    matmul = tf.function(tf.matmul)
    stopwatch = time_calls(lambda i: matmul(left, right), seconds, min_calls=3)
    return 2 * size**3 / stopwatch.ms / 1e6
