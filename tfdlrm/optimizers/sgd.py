"""Stochastic gradient descent."""

from typing import Any

import keras
import tensorflow as tf

from tfdlrm.optimizers._clipping import sum_repeated
from tfdlrm.optimizers._row_steps import (
    is_narrow,
    scatter_add,
    subtract,
    subtract_rows,
)
from tfdlrm.optimizers._sparse import SparseOptimizer


@keras.saving.register_keras_serializable("tfdlrm")
class SGD(SparseOptimizer):
    """Stochastic gradient descent: `w -= learning_rate * gradient`.

    Args:
        learning_rate: A float or a learning-rate schedule.
        name: Name of the optimizer.
        kwargs: See `SparseOptimizer`.

    Example:

    >>> table = tf.Variable([[2.0], [2.0]])
    >>> gradient = tf.IndexedSlices(tf.constant([[1.0], [2.0]]), [1, 1])
    >>> SGD(learning_rate=0.5).apply([gradient], [table])
    >>> table.numpy().tolist()
    [[2.0], [0.5]]
    """

    _adds_penalties = True

    def __init__(
        self, learning_rate: Any = 0.01, name: str = "sgd", **kwargs: Any
    ) -> None:
        super().__init__(learning_rate, name, **kwargs)

    def _update_rows(
        self, variable: tf.Variable, values: Any, rows: Any, learning_rate: Any
    ) -> None:
        if is_narrow(variable):
            unique_rows, sums = sum_repeated(rows, values)
            subtract_rows(variable, unique_rows, learning_rate * sums)
        else:  # a scatter-add sums repeated rows by itself
            scatter_add(variable, rows, -learning_rate * values)

    def _update_dense(
        self, variable: tf.Variable, gradient: Any, learning_rate: Any
    ) -> None:
        if is_narrow(variable):
            subtract(variable, learning_rate * gradient)
        else:
            tf.raw_ops.ResourceApplyGradientDescent(
                var=variable.handle, alpha=learning_rate, delta=gradient
            )
