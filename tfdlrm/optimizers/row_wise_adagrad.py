"""Adagrad with one number of state for each row of a table."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfdlrm.layers._table_rows import write_rows
from tfdlrm.optimizers._sparse import subtract, subtract_rows, sum_repeated
from tfdlrm.optimizers.adagrad import Adagrad


@keras.saving.register_keras_serializable("tfdlrm")
class RowWiseAdagrad(Adagrad):
    """Adagrad with one accumulator for each row of an embedding table.

    `a += mean(gradient ** 2)` over the row: so every step goes whose gradient is a
    `tf.IndexedSlices` of a variable of two dimensions. What is no table has Adagrad's
    full accumulators and steps.

    The tables of `EmbeddingCollection` and `keras.layers.Embedding` have one number of
    state a row from the start. Any other variable of two dimensions has full state
    until its first gradient, and then one number a row if that is sparse.

    Args:
        learning_rate: A float or a learning-rate schedule.
        initial_accumulator_value: What `a` starts from.
        epsilon: Keeps the division finite.
        name: Name of the optimizer.
        tables: Positions, among the trainable variables, of further tables that are to
            have one number a row from the start. First gradients add theirs, and a
            saved optimizer keeps them.
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
        tables: Sequence[int] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate, initial_accumulator_value, epsilon, name, **kwargs
        )
        self.tables = sorted(int(each) for each in tables)
        # Positions of variables of two dimensions that have had no gradient yet.
        self._undecided: set[int] = set()

    def _make_accumulator(self, variable: Any) -> Any:
        if len(variable.shape) != 2:
            return super()._make_accumulator(variable)
        is_table = (
            getattr(variable, "is_embedding_table", False)
            or variable.name.partition(":")[0] == "embeddings"
        )
        if not is_table:
            position = self._get_variable_index(variable)
            self._undecided.add(position)
            is_table = position in self.tables
        return self._make_state(variable, is_table)

    def _make_state(self, variable: Any, is_table: bool) -> Any:
        if not is_table:
            return super()._make_accumulator(variable)
        return self._add_beside(
            variable,
            (variable.shape[0],),
            "row_accumulator",
            self._initial_accumulator,
        )

    def _distributed_tf_update_step(
        self, distribution: Any, pairs: Any, learning_rate: Any
    ) -> None:
        # Here, in the context of no replica, any strategy lets variables be made.
        pairs = list(pairs)
        for gradient, variable in pairs:
            position = self._get_variable_index(variable)
            if position in self._undecided:
                gradient = distribution.experimental_local_results(gradient)[0]
                with tf.init_scope():
                    self._decide(position, isinstance(gradient, tf.IndexedSlices))
        super()._distributed_tf_update_step(distribution, pairs, learning_rate)

    def _decide(self, position: int, is_table: bool) -> None:
        """Give a variable the state that its first gradient asks for."""
        self._undecided.discard(position)
        state = self._accumulators[position]
        if _has_row_shape(state) == is_table or not tf.executing_eagerly():
            return
        initial = tf.cast(self.initial_accumulator_value, state.dtype)
        # Values that were put there, from wherever, stay as they are.
        if tf.reduce_all(state.value == initial):
            self._remake(position, is_table)

    def _remake(self, position: int, is_table: bool) -> None:
        """Make the state of a variable anew, of the other shape."""
        old, tables = self._accumulators[position], {*self.tables}
        self.tables = sorted(tables | {position} if is_table else tables - {position})
        new = self._make_state(self._trainable_variables[position], is_table)
        # The new one takes the place of the old one, in new lists: TensorFlow's own
        # checkpoints refuse a list of which an element was replaced.
        self._accumulators = [
            new if each is old else each for each in self._accumulators
        ]
        variables = [each for each in self.variables if each is not new]
        variables[_place(old, variables)] = new
        self._variables: list[Any] = variables
        is_variable, _ = self._tracker.config["variables"]
        self._tracker.config["variables"] = is_variable, self._variables

    def load_own_variables(self, store: Any) -> None:
        if len(store.keys()) == len(self.variables):
            for position in sorted(self._undecided):
                state = self._accumulators[position]
                saved = store[str(_place(state, self._variables))]
                if len(saved.shape) != len(state.shape):
                    self._remake(position, is_table=len(saved.shape) == 1)
        super().load_own_variables(store)

    def _update_rows(
        self, variable: tf.Variable, values: Any, rows: Any, learning_rate: Any
    ) -> None:
        if len(variable.shape) != 2:
            super()._update_rows(variable, values, rows, learning_rate)
            return
        accumulator = self._accumulator(variable)
        unique_rows, sums = sum_repeated(rows, values)
        squares = tf.reduce_mean(tf.square(sums), axis=1)
        totals = tf.gather(accumulator, unique_rows)
        # In a state of full size all numbers of a row are the same.
        totals += squares if _has_row_shape(accumulator) else squares[:, None]
        write_rows(accumulator, unique_rows, totals)
        roots = tf.sqrt(totals) + self.epsilon
        roots = roots[:, None] if _has_row_shape(accumulator) else roots
        subtract_rows(variable, unique_rows, learning_rate * sums / roots)

    def _update_dense(
        self, variable: tf.Variable, gradient: Any, learning_rate: Any
    ) -> None:
        accumulator = self._accumulator(variable)
        if accumulator.shape == variable.shape:
            super()._update_dense(variable, gradient, learning_rate)
            return
        accumulator.assign_add(tf.reduce_mean(tf.square(gradient), axis=1))
        roots = tf.sqrt(accumulator) + self.epsilon
        subtract(variable, learning_rate * gradient / roots[:, None])

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "tables": self.tables} if self.tables else config


def _has_row_shape(state: Any) -> bool:
    return len(state.shape) == 1


def _place(variable: Any, variables: list[Any]) -> int:
    return next(i for i, each in enumerate(variables) if each is variable)
