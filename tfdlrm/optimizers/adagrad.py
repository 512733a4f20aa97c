"""Adagrad as PyTorch and the reference implementation have it."""

from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

from tfdlrm.layers._table_rows import write_rows
from tfdlrm.optimizers._sparse import (
    SparseOptimizer,
    is_narrow,
    subtract,
    subtract_rows,
    sum_repeated,
)


@keras.saving.register_keras_serializable("tfdlrm")
class Adagrad(SparseOptimizer):
    """Adagrad with the gradient of a row summed over its repetitions in the batch.

    `a += gradient ** 2; w -= learning_rate * gradient / (sqrt(a) + epsilon)`, as
    PyTorch has it: epsilon outside the root and `a` starting at 0.

    Args:
        learning_rate: A float or a learning-rate schedule.
        initial_accumulator_value: What `a` starts from.
        epsilon: Keeps the division finite.
        name: Name of the optimizer.
        kwargs: See `SparseOptimizer`.

    Example:

    >>> table = tf.Variable([[1.0], [1.0]])
    >>> gradient = tf.IndexedSlices(tf.constant([[3.0], [1.0]]), [1, 1])
    >>> Adagrad(learning_rate=0.5).apply([gradient], [table])
    >>> table.numpy().tolist()
    [[1.0], [0.5]]

    Reference:
        [Duchi et al., 2011](https://jmlr.org/papers/v12/duchi11a.html), figure 1.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        initial_accumulator_value: float = 0.0,
        epsilon: float = 1e-10,
        name: str = "adagrad",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, name, **kwargs)
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = epsilon

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self._accumulators = [self._make_accumulator(each) for each in variables]

    def _make_accumulator(self, variable: Any) -> Any:
        return self.add_variable_from_reference(
            variable,
            name="accumulator",
            initializer=self._initial_accumulator,
        )

    def _initial_accumulator(self, shape: Any, dtype: Any = None) -> Any:
        # Keras' own constant is a product of two tensors of this size.
        return tf.fill(shape, tf.cast(self.initial_accumulator_value, dtype))

    def row_state(self, table: keras.Variable) -> list[keras.Variable]:
        return [self._accumulators[self._get_variable_index(table)]]

    def _accumulator(self, variable: tf.Variable) -> tf.Variable:
        return self._accumulators[self._get_variable_index(variable)].value

    def _update_rows(
        self, variable: tf.Variable, values: Any, rows: Any, learning_rate: Any
    ) -> None:
        unique_rows, sums = sum_repeated(rows, values)
        accumulator = self._accumulator(variable)
        # XLA has no kernel for the operation below.
        is_compiled = GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
        if is_narrow(variable) or is_compiled:
            totals = tf.gather(accumulator, unique_rows) + tf.square(sums)
            write_rows(accumulator, unique_rows, totals)
            steps = learning_rate * sums / (tf.sqrt(totals) + self.epsilon)
            subtract_rows(variable, unique_rows, steps)
            return
        tf.raw_ops.ResourceSparseApplyAdagradV2(
            var=variable.handle,
            accum=accumulator.handle,
            lr=learning_rate,
            epsilon=tf.cast(self.epsilon, variable.dtype),
            grad=sums,
            indices=unique_rows,
        )

    def _update_dense(
        self, variable: tf.Variable, gradient: Any, learning_rate: Any
    ) -> None:
        accumulator = self._accumulator(variable)
        if is_narrow(variable):
            accumulator.assign_add(tf.square(gradient))
            roots = tf.sqrt(accumulator) + self.epsilon
            subtract(variable, learning_rate * gradient / roots)
            return
        tf.raw_ops.ResourceApplyAdagradV2(
            var=variable.handle,
            accum=accumulator.handle,
            lr=learning_rate,
            epsilon=tf.cast(self.epsilon, variable.dtype),
            grad=gradient,
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "initial_accumulator_value": self.initial_accumulator_value,
            "epsilon": self.epsilon,
        }
