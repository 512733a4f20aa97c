"""Adagrad with one number of state for each row of a table."""

from typing import Any

import keras
import tensorflow as tf

from tfdlrm.layers.table_rows import write_rows
from tfdlrm.optimizers.adagrad import Adagrad
from tfdlrm.optimizers.sparse import scatter_add, sum_repeated


@keras.saving.register_keras_serializable("tfdlrm")
class RowWiseAdagrad(Adagrad):
    """Adagrad with one accumulator for each row of an embedding table.

    `a += mean(gradient ** 2)` over the row, which saves the memory of all but one
    number a row; variables that are no tables have Adagrad's full accumulators. A
    table is a variable of `EmbeddingCollection` or `keras.layers.Embedding`, and any
    variable of two dimensions whose first gradient is a `tf.IndexedSlices`.

    Args:
        learning_rate: A float or a learning-rate schedule.
        initial_accumulator_value: What `a` starts from.
        epsilon: Keeps the division finite.
        name: Name of the optimizer.
        kwargs: See `SparseOptimizer`.

    Example:

    >>> table = tf.Variable([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    >>> gradient = tf.IndexedSlices(tf.constant([[4.0, 0.0, 0.0, 0.0]]), [1])
    >>> RowWiseAdagrad(learning_rate=0.5).apply([gradient], [table])
    >>> table.numpy().tolist()  # by 0.5 * 4 / the root of 16 / 4
    [[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0]]

    Reference:
        [Mudigere et al., 2021](https://arxiv.org/abs/2104.05158), section 4.1.2.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        initial_accumulator_value: float = 0.0,
        epsilon: float = 1e-10,
        name: str = "row_wise_adagrad",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate, initial_accumulator_value, epsilon, name, **kwargs
        )
        self._sparse_at_first: set[Any] = set()

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        if not self.built and trainable_variables is not None:
            trainable_variables = list(trainable_variables)
            self._sparse_at_first = {
                self._var_key(variable)
                for gradient, variable in zip(grads, trainable_variables, strict=True)
                if isinstance(gradient, tf.IndexedSlices)
            }
        super().apply(grads, trainable_variables)

    def _is_table(self, variable: Any) -> bool:
        return len(variable.shape) == 2 and (
            getattr(variable, "is_embedding_table", False)
            or variable.name.partition(":")[0] == "embeddings"
            or self._var_key(variable) in self._sparse_at_first
        )

    def _make_accumulator(self, variable: Any) -> Any:
        if not self._is_table(variable):
            return super()._make_accumulator(variable)
        return self._add_beside(
            variable,
            (variable.shape[0],),
            "row_accumulator",
            self._initial_accumulator,
        )

    def _update_rows(
        self, variable: tf.Variable, values: Any, rows: Any, learning_rate: Any
    ) -> None:
        accumulator = self._accumulator(variable)
        if accumulator.shape == variable.shape:
            super()._update_rows(variable, values, rows, learning_rate)
            return
        unique_rows, sums = sum_repeated(rows, values)
        squares = tf.reduce_mean(tf.square(sums), axis=1)
        totals = tf.gather(accumulator, unique_rows) + squares
        write_rows(accumulator, unique_rows, totals)
        steps = learning_rate * sums / (tf.sqrt(totals) + self.epsilon)[:, None]
        scatter_add(variable, unique_rows, -steps)

    def _update_dense(
        self, variable: tf.Variable, gradient: Any, learning_rate: Any
    ) -> None:
        accumulator = self._accumulator(variable)
        if accumulator.shape == variable.shape:
            super()._update_dense(variable, gradient, learning_rate)
            return
        accumulator.assign_add(tf.reduce_mean(tf.square(gradient), axis=1))
        roots = tf.sqrt(accumulator) + self.epsilon
        variable.assign_sub(learning_rate * gradient / roots[:, None])
