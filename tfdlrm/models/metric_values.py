"""Read the values of all metrics of a step from a GPU at once."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf


class _Packed:
    """Values in one tensor, which is read when the first value is needed."""

    def __init__(self, tensor: tf.Tensor) -> None:
        self._tensor = tensor

    @cached_property
    def values(self) -> np.ndarray:
        return self._tensor.numpy()


class _Value:
    """One of the packed values, as a number."""

    def __init__(self, packed: _Packed, position: int) -> None:
        self._packed = packed
        self._position = position

    def __float__(self) -> float:
        return float(self._packed.values[self._position])

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self._packed.values[self._position], dtype)


def read_together(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a train or test function whose metrics are read from a GPU together.

    Keras converts each metric to a number. The first conversion waits for the step, and
    every one is a copy by itself that overlaps with nothing.

    Args:
        function: Function from an iterator to the values of the metrics.
    """

    def read(iterator: Any) -> Any:
        results = function(iterator)
        if not isinstance(results, dict) or len(results) < 2:
            return results
        if not all(_is_number_on_gpu(value) for value in results.values()):
            return results
        packed = _Packed(tf.stack(list(results.values())))
        return {name: _Value(packed, index) for index, name in enumerate(results)}

    return read


def _is_number_on_gpu(value: Any) -> bool:
    return (
        isinstance(value, tf.Tensor)
        and value.dtype == tf.float32
        and value.shape.rank == 0
        and "device:GPU" in value.device
    )
