"""Rows of a table with 8 bits a number."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfdlrm.layers._table_values import CHUNK_ROWS

_LARGEST = 127


def quantize_rows(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows as int8, and their scales.

    Args:
        values: float32 `(rows, dim)`.

    Example:

    >>> rows, scales = quantize_rows(np.array([[0.5, -1.0], [0.0, 0.0]], np.float32))
    >>> rows.tolist(), (127 * scales).tolist()
    ([[64, -127], [0, 0]], [1.0, 0.0])
    """
    scales = np.abs(values).max(axis=1) / np.float32(_LARGEST)
    divisors = np.where(scales > 0, scales, np.float32(1))
    return np.rint(values / divisors[:, None]).astype(np.int8), scales


class Int8Rows:
    """The two variables of a quantized table: int8 numbers, and one scale a row.

    Args:
        layer: Layer that holds the variables.
        shape: Shape of the table.
    """

    def __init__(self, layer: keras.layers.Layer, shape: tuple[int, int]) -> None:
        self.rows = layer.add_weight(
            name="rows",
            shape=shape,
            dtype="int8",
            initializer="zeros",
            trainable=False,
        )
        self.scales = layer.add_weight(
            name="scales",
            shape=shape[:1],
            dtype="float32",
            initializer="zeros",
            trainable=False,
        )
        # A SavedModel holds only variables that attributes of layers lead to.
        layer.int8_variables = [self.rows, self.scales]

    def fill(self, read_rows: Callable[[Any], Any]) -> None:
        """Quantize all rows of a table, in parts, so that it is not copied.

        Args:
            read_rows: Returns the vectors of some rows of the table.
        """
        rows = np.empty(self.rows.shape, np.int8)
        scales = np.empty(self.scales.shape, np.float32)
        for start in range(0, len(rows), CHUNK_ROWS):
            part = slice(start, min(start + CHUNK_ROWS, len(rows)))
            values = ops.cast(read_rows(np.arange(part.start, part.stop)), "float32")
            rows[part], scales[part] = quantize_rows(ops.convert_to_numpy(values))
        self.rows.assign(rows)
        self.scales.assign(scales)

    def read(self, rows: Any) -> Any:
        """Return the vectors of some rows, float32."""
        values = ops.cast(_look_up(self.rows, rows), "float32")
        return values * ops.expand_dims(_look_up(self.scales, rows), -1)


def use_int8(layer: Any) -> None:
    """Give a layer the type policy by which Keras knows that it is quantized."""
    layer.dtype_policy = f"int8_from_{layer.dtype_policy.name}"


def _look_up(variable: keras.Variable, rows: Any) -> Any:
    if keras.backend.backend() != "tensorflow":
        return ops.take(variable, rows, axis=0)
    import tensorflow as tf

    from tfdlrm.layers._table_rows import own_copy

    return tf.nn.embedding_lookup(own_copy(variable.value), rows)
