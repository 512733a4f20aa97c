"""Adagrad with the formula of PyTorch and the reference implementation."""

from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

from tfdlrm.layers._table_rows import write_rows
from tfdlrm.optimizers._clipping import sum_repeated
from tfdlrm.optimizers._row_steps import is_narrow, subtract, subtract_rows
from tfdlrm.optimizers._sparse import SparseOptimizer


@keras.saving.register_keras_serializable("tfdlrm")
class Adagrad(SparseOptimizer):
    """Adagrad with the gradient of a row summed over its repetitions in the batch.

    `a += gradient ** 2; w -= learning_rate * gradient / (sqrt(a) + epsilon)`, as in
    PyTorch: epsilon is outside the root, and `a` starts at 0.

    Args:
        learning_rate: A float or a learning-rate schedule.
        initial_accumulator_value: Initial value of `a`.
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

    def _add_states(self, variables: Any) -> None:
        self._accumulators = [
            self._make_accumulator(variable) for variable in variables
        ]

    def _make_accumulator(self, variable: Any) -> Any:
        return self.add_variable_from_reference(
            variable,
            name="accumulator",
            initializer=self._initial_accumulator,
        )

    def _initial_accumulator(self, shape: Any, dtype: Any = None) -> Any:
        # Keras' own constant is a product of two tensors of this size.
        return tf.fill(shape, tf.cast(self.initial_accumulator_value, dtype))

    def _states_of(self, variable: keras.Variable) -> list[keras.Variable]:
        return [self._accumulators[self._get_variable_index(variable)]]

    def _accumulator(self, variable: tf.Variable) -> tf.Variable:
        return self._accumulators[self._get_variable_index(variable)].value

    def _update_rows(
        self, variable: tf.Variable, values: Any, rows: Any, learning_rate: Any
    ) -> None:
        unique_rows, sums = sum_repeated(rows, values)
        # XLA has no kernel for the operation below.
        is_compiled = GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
        if is_narrow(variable) or is_compiled:
            self._step_rows(variable, unique_rows, sums, tf.square(sums), learning_rate)
            return
        accumulator = self._accumulator(variable)
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
            self._step(variable, gradient, tf.square(gradient), learning_rate)
            return
        tf.raw_ops.ResourceApplyAdagradV2(
            var=variable.handle,
            accum=accumulator.handle,
            lr=learning_rate,
            epsilon=tf.cast(self.epsilon, variable.dtype),
            grad=gradient,
        )

    def _step_rows(
        self,
        variable: tf.Variable,
        rows: Any,
        sums: Any,
        squares: Any,
        learning_rate: Any,
    ) -> None:
        """Step on distinct `rows`, by several operations instead of one kernel.

        Args:
            variable: Table.
            rows: Distinct rows of the table, `(rows,)`.
            sums: Gradient of each row, `(rows, …)`.
            squares: Numbers to add to the accumulator of each row.
            learning_rate: Learning rate of this step.
        """
        accumulator = self._accumulator(variable)
        totals = tf.gather(accumulator, rows) + squares
        write_rows(accumulator, rows, totals)
        subtract_rows(variable, rows, learning_rate * sums / self._roots(totals, sums))

    def _step(
        self, variable: tf.Variable, gradient: Any, squares: Any, learning_rate: Any
    ) -> None:
        """Step on all of `variable`, by several operations instead of one kernel."""
        accumulator = self._accumulator(variable)
        accumulator.assign_add(squares)
        roots = self._roots(accumulator, gradient)
        subtract(variable, learning_rate * gradient / roots)

    def _roots(self, accumulator: Any, gradient: Any) -> Any:
        """Return the divisors of a gradient, broadcastable to it."""
        roots = tf.sqrt(accumulator) + self.epsilon
        is_row_wise = len(roots.shape) < len(gradient.shape)
        return roots[:, None] if is_row_wise else roots

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "initial_accumulator_value": self.initial_accumulator_value,
            "epsilon": self.epsilon,
        }
