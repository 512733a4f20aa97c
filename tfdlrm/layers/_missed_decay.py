"""The decay that rows of a table have missed, when they are read."""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfdlrm.layers._table_rows import own_copy


@dataclass(frozen=True)
class MissedDecay:
    """What an optimizer has not yet taken away from the rows of a table.

    Args:
        total: Float64 sum, over all steps, of the logarithm of what a step leaves.
        sums: For each row, the same sum up to the step that the row was brought up to.
    """

    total: Any
    sums: Any

    @property
    def now(self) -> tf.Tensor:
        """The sum over all steps so far."""
        return tf.convert_to_tensor(self.total)

    def decay(self, values: Any, rows: Any) -> tf.Tensor:
        """Return the stored values of some rows `(*rows.shape, dim)`, brought up."""
        left = tf.exp(self.now - tf.gather(own_copy(self.sums), rows))
        wide = tf.float64 if values.dtype == tf.float64 else tf.float32
        result = tf.cast(values, wide) * tf.cast(left, wide)[..., None]
        return tf.cast(result, values.dtype)


def brought_up(table: Any, values: Any, rows: Any) -> Any:
    """Return rows of a table as they are after all steps.

    The gradient is that of these rows, not of what is stored.

    Args:
        table: Keras variable of the table.
        values: The rows as they are stored.
        rows: Their numbers.
    """
    missed: MissedDecay | None = getattr(table, "missed_decay", None)
    if missed is None:
        return values

    @tf.custom_gradient
    def decay(stored: tf.Tensor) -> Any:
        return missed.decay(stored, rows), lambda upstream: upstream

    return decay(values)
