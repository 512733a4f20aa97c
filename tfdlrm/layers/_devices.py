"""Differences of a GPU: fast types and operations, and TF32."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras


def has_gpu() -> bool:
    """Return whether TensorFlow computes on a GPU."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return bool(tf.config.list_logical_devices("GPU"))


def id_dtype() -> str:
    """Return the type for arithmetic with ids that fit int32.

    On a GPU TensorFlow keeps int32 in the memory of the host (its kernels of `AddV2`,
    `Less` and others say so), so that ids would travel to the host and back at every
    operation; int64 stays on the GPU. On processors int32 is faster.
    """
    return "int64" if has_gpu() else "int32"


@contextmanager
def without_tf32() -> Iterator[None]:
    """Multiply float32 matrices in float32 while the context lasts, on GPUs too."""
    import tensorflow as tf

    was_on = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(was_on)
