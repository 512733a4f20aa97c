"""Embedding tables with 8 bits a number, for serving."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdlrm.layers._fused_tables import FusedTables
from tfdlrm.layers._int8_rows import quantize_rows
from tfdlrm.layers._table_values import CHUNK_ROWS


class QuantizedTable(tf.Module):
    """A table stored as int8, with one scale a row.

    A number is its int8 times the row's scale, which is the largest magnitude of the
    row divided by 127: no number is off by more than half a scale.

    Args:
        layer: The layer whose table is quantized; the layer itself does not change.
    """

    def __init__(self, layer: FusedTables) -> None:
        super().__init__()
        (table,) = layer.tables
        num_rows, dim = table.shape
        rows = np.empty((num_rows, dim), np.int8)
        scales = np.empty(num_rows, np.float32)
        # In parts: reading the whole table would copy it.
        for start in range(0, num_rows, CHUNK_ROWS):
            part = slice(start, min(start + CHUNK_ROWS, num_rows))
            values = tf.gather(table.value, tf.range(part.start, part.stop))
            rows[part], scales[part] = quantize_rows(values.numpy())
        self.rows = tf.Variable(rows, trainable=False, name="rows")
        self.scales = tf.Variable(scales, trainable=False, name="scales")

    @property
    def num_bytes(self) -> int:
        """Size of rows and scales in bytes."""
        return int(np.prod(self.rows.shape)) + 4 * int(self.scales.shape[0])

    def gather(self, rows: Any) -> tf.Tensor:
        """Return the vectors of `rows`, float32."""
        values = tf.cast(tf.nn.embedding_lookup(self.rows, rows), tf.float32)
        return values * tf.nn.embedding_lookup(self.scales, rows)[..., None]


def quantize_tables(model: keras.Model) -> dict[FusedTables, QuantizedTable]:
    """Quantize every table of a model that becomes smaller by it.

    Vectors of one number stay as they are: with a scale they would grow.
    """
    return {
        layer: QuantizedTable(layer)
        for layer in model._flatten_layers()
        if isinstance(layer, FusedTables)
        and layer.dim > 1
        and layer.quantization_mode is None
    }


@contextmanager
def lookups_in(tables: Mapping[FusedTables, QuantizedTable]) -> Iterator[None]:
    """Let graphs traced in this context look up vectors in quantized tables."""
    for layer, table in tables.items():
        layer.read_rows = table.gather  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in tables:
            del layer.read_rows  # uncovers the method of the class
