"""Adagrad with one number of state for each row of a table."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfdlrm.optimizers._clipping import sum_repeated
from tfdlrm.optimizers._tables import is_table
from tfdlrm.optimizers.adagrad import Adagrad


@keras.saving.register_keras_serializable("tfdlrm")
class RowWiseAdagrad(Adagrad):
    """Adagrad with one accumulator for each row of an embedding table.

    A step is row-wise, `a += mean(gradient ** 2)` over the row, if its gradient is a
    `tf.IndexedSlices` of a variable of two dimensions. All other variables have
    Adagrad's full accumulators and steps.

    The tables of `EmbeddingCollection` and `keras.layers.Embedding` have one number of
    state a row from the start. Any other variable of two dimensions has full state
    until its first gradient, and one number a row afterwards if that is sparse.

    Args:
        learning_rate: A float or a learning-rate schedule.
        initial_accumulator_value: Initial value of `a`.
        epsilon: Keeps the division finite.
        name: Name of the optimizer.
        tables: Positions, among the trainable variables, of further tables that have
            one number a row from the start. A sparse first gradient adds the position
            of its variable; a saved optimizer keeps them.
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
        self.tables = sorted(int(position) for position in tables)
        # Positions of variables of two dimensions that have had no gradient yet.
        self._undecided: set[int] = set()

    def _make_accumulator(self, variable: Any) -> Any:
        if len(variable.shape) != 2:
            return super()._make_accumulator(variable)
        has_rows = is_table(variable)
        if not has_rows:
            position = self._get_variable_index(variable)
            self._undecided.add(position)
            has_rows = position in self.tables
        return self._make_state(variable, has_rows)

    def _make_state(self, variable: Any, is_table: bool) -> Any:
        if not is_table:
            return super()._make_accumulator(variable)
        return self._add_state_on_device(
            variable,
            (variable.shape[0],),
            "row_accumulator",
            self._initial_accumulator,
        )

    def _distributed_tf_update_step(
        self, distribution: Any, pairs: Any, learning_rate: Any
    ) -> None:
        # In this context, of no replica, every strategy allows new variables.
        pairs = list(pairs)
        for gradient, variable in pairs:
            position = self._get_variable_index(variable)
            if position in self._undecided:
                gradient = distribution.experimental_local_results(gradient)[0]
                with tf.init_scope():
                    self._decide(position, isinstance(gradient, tf.IndexedSlices))
        super()._distributed_tf_update_step(distribution, pairs, learning_rate)

    def _decide(self, position: int, is_table: bool) -> None:
        """Make the state of a variable fit its first gradient."""
        self._undecided.discard(position)
        state = self._accumulators[position]
        if _has_row_shape(state) == is_table or not tf.executing_eagerly():
            return
        initial = tf.cast(self.initial_accumulator_value, state.dtype)
        # State that does not hold its initial values any more stays as it is.
        if tf.reduce_all(state.value == initial):
            self._remake(position, is_table)

    def _remake(self, position: int, is_table: bool) -> None:
        """Replace the state of a variable by one of the other shape."""
        old_state, tables = self._accumulators[position], {*self.tables}
        self.tables = sorted(tables | {position} if is_table else tables - {position})
        new_state = self._make_state(self._trainable_variables[position], is_table)
        # The lists are new, too: TensorFlow's own checkpoints refuse a list in which an
        # element was replaced.
        self._accumulators = [
            new_state if state is old_state else state for state in self._accumulators
        ]
        variables = [state for state in self.variables if state is not new_state]
        variables[_position(old_state, variables)] = new_state
        self._variables: list[Any] = variables
        is_variable, _ = self._tracker.config["variables"]
        self._tracker.config["variables"] = is_variable, self._variables

    def load_own_variables(self, store: Any) -> None:
        if len(store.keys()) == len(self.variables):
            for position in sorted(self._undecided):
                state = self._accumulators[position]
                saved_state = store[str(_position(state, self._variables))]
                if len(saved_state.shape) != len(state.shape):
                    self._remake(position, is_table=len(saved_state.shape) == 1)
        super().load_own_variables(store)

    def _update_rows(
        self, variable: tf.Variable, values: Any, rows: Any, learning_rate: Any
    ) -> None:
        if len(variable.shape) != 2:
            super()._update_rows(variable, values, rows, learning_rate)
            return
        unique_rows, sums = sum_repeated(rows, values)
        squares = tf.reduce_mean(tf.square(sums), axis=1)
        # In a state of full size all numbers of a row are the same.
        if not _has_row_shape(self._accumulator(variable)):
            squares = squares[:, None]
        self._step_rows(variable, unique_rows, sums, squares, learning_rate)

    def _update_dense(
        self, variable: tf.Variable, gradient: Any, learning_rate: Any
    ) -> None:
        if self._accumulator(variable).shape == variable.shape:
            super()._update_dense(variable, gradient, learning_rate)
            return
        squares = tf.reduce_mean(tf.square(gradient), axis=1)
        self._step(variable, gradient, squares, learning_rate)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "tables": self.tables} if self.tables else config


def _has_row_shape(state: Any) -> bool:
    return len(state.shape) == 1


def _position(variable: Any, variables: list[Any]) -> int:
    return next(
        index for index, candidate in enumerate(variables) if candidate is variable
    )
