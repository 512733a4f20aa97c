"""What all optimizers for sparse gradients share."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf


class SparseOptimizer(keras.optimizers.Optimizer):
    """Common ground of the optimizers below.

    Args:
        learning_rate: A float, or a `keras.optimizers.schedules.LearningRateSchedule`.
        name: Name of the optimizer.
        kwargs: What else `keras.optimizers.Optimizer` takes, as far as supported.

    Raises:
        ValueError: If an option is set that would have to touch, at every step, rows
            that no id of the batch named: weight decay, clipping, moving averages and
            gradient accumulation.
    """

    def __init__(self, learning_rate: Any, name: str, **kwargs: Any) -> None:
        unsupported = [
            key
            for key in (
                "weight_decay",
                "clipnorm",
                "clipvalue",
                "global_clipnorm",
                "use_ema",
                "gradient_accumulation_steps",
            )
            if kwargs.get(key)
        ]
        if unsupported:
            raise ValueError(
                f"{type(self).__name__} does not support {', '.join(unsupported)}: "
                "with sparse gradients these would read or write the whole table at "
                "every step. Leave them unset."
            )
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        # A function and no dictionary, for Keras would save what is in that.
        self._flags_of: Callable[[Any], Any] = {}.get

    def watch_rows(self, tables: Sequence[keras.Variable]) -> list[tf.Variable]:
        """Keep note, from now on, of the rows of some tables that are updated.

        Args:
            tables: Variables of the model, before a training step is compiled.

        Returns:
            Of each table a bool variable `(rows,)`; a row that is updated becomes true.
        """
        flags = [
            tf.Variable(tf.zeros(table.shape[0], tf.bool), trainable=False)
            for table in tables
        ]
        keys = [self._var_key(table) for table in tables]
        self._flags_of = dict(zip(keys, flags, strict=True)).get
        return flags

    def row_state(self, table: keras.Variable) -> list[keras.Variable]:
        """The optimizer's variables that have a row for each one of `table`."""
        return []

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable from its gradient, dense or `tf.IndexedSlices`."""
        changed = self._flags_of(self._var_key(variable))
        if isinstance(variable, keras.Variable):
            variable = variable.value
        learning_rate = tf.cast(learning_rate, variable.dtype)
        if isinstance(gradient, tf.IndexedSlices):
            values = tf.cast(gradient.values, variable.dtype)
            if changed is not None:
                marks = tf.ones_like(gradient.indices, tf.bool)
                scatter_update(changed, gradient.indices, marks)
            self._update_rows(variable, values, gradient.indices, learning_rate)
        else:
            if changed is not None:
                changed.assign(tf.ones_like(changed))
            gradient = tf.cast(gradient, variable.dtype)
            self._update_dense(variable, gradient, learning_rate)

    def _update_rows(
        self, variable: tf.Variable, values: Any, rows: Any, learning_rate: Any
    ) -> None:
        """Update `rows` of `variable`; a row may be named several times."""
        raise NotImplementedError

    def _update_dense(
        self, variable: tf.Variable, gradient: Any, learning_rate: Any
    ) -> None:
        raise NotImplementedError


def sum_repeated(rows: Any, values: Any) -> tuple[Any, Any]:
    """The distinct rows of a sparse gradient, and the sum of each one's values.

    Args:
        rows: Integer tensor of shape `(n,)`, with repetitions.
        values: Tensor of shape `(n, dim)`.

    Returns:
        Tensors of shape `(distinct,)` and `(distinct, dim)`.
    """
    unique_rows, places = tf.unique(rows)
    sums = tf.math.unsorted_segment_sum(values, places, tf.size(unique_rows))
    return unique_rows, sums


def scatter_add(variable: tf.Variable, rows: Any, values: Any) -> None:
    """Add `values` to `rows` of `variable`, in place."""
    tf.raw_ops.ResourceScatterAdd(
        resource=variable.handle, indices=rows, updates=values
    )


def scatter_update(variable: tf.Variable, rows: Any, values: Any) -> None:
    """Write `values` to `rows` of `variable`, in place."""
    tf.raw_ops.ResourceScatterUpdate(
        resource=variable.handle, indices=rows, updates=values
    )
