"""Sums of gradients over several steps, of which only the named rows are touched."""

from typing import Any

import tensorflow as tf

from tfdlrm.layers._placed_tables import variables_on
from tfdlrm.layers._table_rows import write_rows


class GradientSum:
    """The sum of the gradients of one variable since its last update.

    Args:
        total: Variable of the shape of the gradient, which a saved optimizer holds.
        shard: Place of the variable, if it lies on one device under a strategy.
    """

    def __init__(self, total: Any, shard: Any = None) -> None:
        self._total = total.value
        with tf.init_scope(), variables_on(shard):
            # The rows that have a gradient. A loaded optimizer has the total only, from
            # which they are read before the first step.
            self._rows = tf.Variable(
                tf.zeros([0], tf.int64), shape=[None], trainable=False
            )
            self._are_rows_known = tf.Variable(False, trainable=False)

    def forget_rows(self) -> None:
        """Read the rows from the total before the next step, after it was replaced."""
        self._are_rows_known.assign(False)

    def add(self, gradient: Any) -> None:
        """Add the gradient of one step."""
        if not isinstance(gradient, tf.IndexedSlices):
            self._total.assign_add(tf.cast(gradient, self._total.dtype))
            return
        tf.cond(self._are_rows_known, lambda: tf.constant(True), self._find_rows)
        rows = tf.cast(gradient.indices, tf.int64)
        tf.raw_ops.ResourceScatterAdd(
            resource=self._total.handle,
            indices=rows,
            updates=tf.cast(gradient.values, self._total.dtype),
        )
        self._rows.assign(tf.concat([self._rows, rows], axis=0))

    def _find_rows(self) -> tf.Tensor:
        axes = list(range(1, len(self._total.shape)))
        has_gradient = tf.reduce_any(self._total != 0, axis=axes)
        self._rows.assign(tf.reshape(tf.where(has_gradient), [-1]))
        return self._are_rows_known.assign(True, read_value=True)

    def take_mean(self, num_steps: int, is_sparse: bool) -> Any:
        """Return the sum divided by a number of steps, and begin again at 0.

        Args:
            num_steps: Steps of which this is the sum.
            is_sparse: Whether their gradients were `tf.IndexedSlices`.
        """
        if not is_sparse:
            mean = self._total / num_steps
            with tf.control_dependencies([mean]):
                self._total.assign(tf.zeros_like(self._total))
            return mean
        rows, _ = tf.unique(self._rows)
        mean = tf.gather(self._total, rows) / num_steps
        with tf.control_dependencies([mean]):
            write_rows(self._total, rows, tf.zeros_like(mean))
            self._rows.assign(tf.zeros([0], tf.int64))
        return tf.IndexedSlices(mean, rows)
