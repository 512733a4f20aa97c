"""The base of all optimizers for sparse gradients."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from tfdlrm.layers._placed_tables import variables_on
from tfdlrm.layers._table_rows import write_rows
from tfdlrm.layers._wide_sums import sum_dtype
from tfdlrm.optimizers._accumulation import GradientSum
from tfdlrm.optimizers._clipping import clip
from tfdlrm.optimizers._collective_keys import use_own_keys
from tfdlrm.optimizers._late_decay import LateDecay, require_late_tables
from tfdlrm.optimizers._slices import concatenate, divisible
from tfdlrm.optimizers._tables import is_table
from tfdlrm.optimizers._whole_tables import TableDecay

_WHOLE_TABLE = {
    "weight_decay": "Leave weight_decay unset, and set table_weight_decay, or give an "
    "EmbeddingCollection an embeddings_regularizer, which pulls at the rows of the "
    "batch.",
    "use_ema": "Leave use_ema unset, and average the weights of saved checkpoints.",
}
"""Options that change rows outside the batch at every step, and what to do instead."""


class SparseOptimizer(keras.optimizers.Optimizer):
    """Base class of the optimizers for sparse gradients.

    For variables of 16 bits, gradients are summed and state is kept in float32. A
    subclass adds its state in `_add_states`, and steps in `_update_rows` and
    `_update_dense`.

    Args:
        learning_rate: A float, or a `keras.optimizers.schedules.LearningRateSchedule`.
        name: Name of the optimizer.
        table_l2: Factor of the sum of the squared numbers of all embedding tables in
            the loss, as `keras.regularizers.L2` of a whole table. Its gradient goes
            into the step of the optimizer.
        table_weight_decay: Share of each row, times the learning rate, that a step
            takes away, as `weight_decay` in Keras.
        decay_of: `all` reads and writes whole tables at every step, for small ones.
            `touched` costs as much as the rows of the batch: a row catches up on all
            that it missed when a batch names it, and lookups read it so. Only rounding
            differs, since for each row the product of all factors that it missed is
            kept, with whatever learning rates. But `table_l2` is exact for `SGD` alone,
            and refused by others, whose steps depend on each gradient before; and the
            stored rows lag behind until `catch_up`. Needs the tables of
            `EmbeddingCollection`.
        kwargs: Other arguments of `keras.optimizers.Optimizer`, as far as supported.
            `clipnorm`, `global_clipnorm` and `clipvalue` clip the gradients of the
            whole batch, after repeated rows and all devices are summed; tables of one
            width are one variable. `gradient_accumulation_steps` adds a variable of
            its own size to each variable, and needs a single device.

    Raises:
        ValueError: If an option is set that changes, at every step, rows that no id of
            the batch names (weight decay, moving averages), or under a
            `tf.distribute.ParameterServerStrategy`.
    """

    # Whether the steps of several gradients are that of their sum.
    _adds_penalties = False

    def __init__(
        self,
        learning_rate: Any,
        name: str,
        table_l2: float = 0.0,
        table_weight_decay: float = 0.0,
        decay_of: str = "touched",
        **kwargs: Any,
    ) -> None:
        unsupported = [key for key in _WHOLE_TABLE if kwargs.get(key)]
        if unsupported:
            raise ValueError(
                f"{type(self).__name__} does not support {', '.join(unsupported)}: "
                "with sparse gradients these would read or write the whole table at "
                f"every step. {' '.join(_WHOLE_TABLE[key] for key in unsupported)}"
            )
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        strategy = self._distribution_strategy
        if isinstance(strategy, tf.distribute.ParameterServerStrategy):
            raise ValueError(
                f"{type(self).__name__} does not work under ParameterServerStrategy: "
                "make model and optimizer under a MirroredStrategy or a "
                "MultiWorkerMirroredStrategy."
            )
        use_own_keys(strategy)
        # A function, since Keras would save the contents of a dictionary.
        self._get_flags: Callable[[Any], Any] = {}.get
        self._at_home: frozenset[Any] = frozenset()
        self._decayed: frozenset[Any] = frozenset()
        self.late_decay: LateDecay | None = None
        self._sums_of_rows: Callable[[Any], Any] = {}.get
        self._sums: Callable[[Any], GradientSum] = {}.__getitem__
        self._clips = bool(self.clipnorm or self.global_clipnorm or self.clipvalue)
        self._decay = TableDecay(table_l2, table_weight_decay, decay_of)
        self._decay.require_possible(
            type(self).__name__, self._adds_penalties, self._clips
        )

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        # Variables on one device, under a strategy that would copy them.
        self._at_home = frozenset(
            self._var_key(variable)
            for variable in variables
            if hasattr(variable, "shard")
        )
        self._require_one_home(variables)
        if self._decay.is_late:
            require_late_tables(type(self).__name__, variables)
        if self._decay:
            self._decayed = frozenset(map(self._var_key, filter(is_table, variables)))
        if self.gradient_accumulation_steps:
            self._add_sums(variables)
        self._add_states(variables)
        if self._decay.is_late:
            self._add_late_decay(variables)

    def _require_one_home(self, variables: Any) -> None:
        """Refuse what needs the gradients of all devices in one place.

        Raises:
            ValueError: If gradients are accumulated, or those of placed tables clipped,
                under a strategy of several devices.
        """
        strategy = self._distribution_strategy
        if strategy.num_replicas_in_sync == 1:
            return
        if self.gradient_accumulation_steps:
            raise ValueError(
                f"{type(self).__name__} does not support gradient_accumulation_steps "
                f"under a {type(strategy).__name__} of "
                f"{strategy.num_replicas_in_sync} devices: leave it unset, and make "
                "batches larger."
            )
        if self._clips and self._at_home:
            raise ValueError(
                f"{type(self).__name__} does not clip gradients of tables that lie on "
                "one device each: leave clipping unset, or make the model outside "
                "`tables_on`."
            )

    def _add_sums(self, variables: Any) -> None:
        sums = {
            self._var_key(variable): GradientSum(
                total, getattr(variable, "shard", None)
            )
            for variable, total in zip(
                variables, self._accumulated_gradients, strict=True
            )
        }
        self._sums = sums.__getitem__  # a function, as above

    def _add_states(self, variables: Any) -> None:
        """Add the optimizer's variables for some variables of a model."""

    def watch_rows(self, tables: Sequence[keras.Variable]) -> list[tf.Variable]:
        """Record, from now on, which rows of some tables are updated.

        Call it before a training step is compiled.

        Args:
            tables: Variables of the model.

        Returns:
            A bool variable `(rows,)` for each table; an update sets its rows to true.
        """
        flags = []
        for table in tables:
            with variables_on(getattr(table, "shard", None)):
                rows = tf.zeros(table.shape[0], tf.bool)
                flags.append(tf.Variable(rows, trainable=False))
        keys = [self._var_key(table) for table in tables]
        self._get_flags = dict(zip(keys, flags, strict=True)).get
        return flags

    def row_state(self, table: keras.Variable) -> list[keras.Variable]:
        """Return the optimizer's variables that have a row for each row of `table`."""
        sums = self._sums_of_rows(self._var_key(table))
        return [*self._states_of(table), *([] if sums is None else [sums])]

    def _states_of(self, variable: keras.Variable) -> list[keras.Variable]:
        """Return the state of a variable that a subclass has added."""
        return []

    def catch_up(self) -> None:
        """Let all rows of all tables catch up on the decay that they missed.

        What reads whole tables, such as `model.get_weights`, needs it before.
        """
        if self.late_decay is None:
            return
        self.late_decay.catch_up()
        for table in self.late_decay.tables:
            changed = self._get_flags(self._var_key(table))
            if changed is not None:
                changed.assign(tf.ones(changed.shape, tf.bool))

    def _add_late_decay(self, variables: Any) -> None:
        tables = list(filter(is_table, variables))
        with self._scope():
            total = self.add_variable(
                (), dtype="float64", aggregation="only_first_replica", name="decay"
            )
        sums = [
            self._add_state_on_device(
                table, (table.shape[0],), "decay", "zeros", dtype="float64"
            )
            for table in tables
        ]
        keys = map(self._var_key, tables)
        self._sums_of_rows = dict(zip(keys, sums, strict=True)).get
        rate = self._decay.weight_decay + 2 * self._decay.l2
        self.late_decay = LateDecay(rate, total, tables, sums)

    @contextmanager
    def _scope(self) -> Iterator[None]:
        """Enter the strategy that the optimizer was made under, if it is not active."""
        # Outside it, all devices would share one state, and each would update it.
        if tf.distribute.has_strategy():
            yield
        else:
            with self._distribution_strategy.scope():
                yield

    def add_variable_from_reference(
        self,
        reference_variable: Any,
        name: str | None = None,
        initializer: Any = "zeros",
    ) -> keras.Variable:
        dtype = keras.backend.standardize_dtype(reference_variable.dtype)
        if hasattr(reference_variable, "shard") or dtype != sum_dtype(dtype):
            return self._add_state_on_device(
                reference_variable, reference_variable.shape, name, initializer
            )
        with self._scope():
            return super().add_variable_from_reference(
                reference_variable, name=name, initializer=initializer
            )

    def _add_state_on_device(
        self,
        variable: Any,
        shape: Any,
        name: str | None,
        initializer: Any,
        dtype: str | None = None,
    ) -> keras.Variable:
        """Add a state variable on the device of `variable`."""
        shard = getattr(variable, "shard", None)
        with self._scope(), variables_on(shard):
            state = self.add_variable(
                shape=shape,
                initializer=initializer,
                dtype=dtype or sum_dtype(variable.dtype),
                name=f"{variable.name.partition(':')[0]}_{name}",
            )
        if shard is not None:
            state.shard = shard
        return state

    def _has_home(self, variable: tf.Variable) -> bool:
        return tf.distribute.has_strategy() and self._var_key(variable) in self._at_home

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        if self.loss_scale_factor is not None:
            grads = [divisible(gradient) for gradient in grads]
        super().apply(grads, trainable_variables)

    def _backend_apply_gradients(self, grads: Any, trainable_variables: Any) -> None:
        num_steps = self.gradient_accumulation_steps
        if not num_steps:
            super()._backend_apply_gradients(grads, trainable_variables)
            return
        sums = [self._sums(self._var_key(variable)) for variable in trainable_variables]
        for total, gradient in zip(sums, grads, strict=True):
            total.add(gradient)
        are_sparse = [isinstance(gradient, tf.IndexedSlices) for gradient in grads]

        def update() -> tf.Tensor:
            means = [
                total.take_mean(num_steps, is_sparse)
                for total, is_sparse in zip(sums, are_sparse, strict=True)
            ]
            self._backend_update_step(means, trainable_variables, self.learning_rate)
            return tf.constant(True)

        is_last = (self._iterations.value + 1) % num_steps == 0
        tf.cond(is_last, update, lambda: tf.constant(False))

    def set_weights(self, weights: Any) -> None:
        super().set_weights(weights)
        self._forget_rows()

    def load_own_variables(self, store: Any) -> None:
        super().load_own_variables(store)
        self._forget_rows()

    def _forget_rows(self) -> None:
        if self.gradient_accumulation_steps:
            for variable in self._trainable_variables:
                self._sums(self._var_key(variable)).forget_rows()

    def _clip_gradients(self, grads: Any) -> Any:
        return grads  # see `_all_reduce_sum_gradients`

    def _all_reduce_sum_gradients(self, pairs: Any) -> Any:
        pairs = self._reduce(pairs)
        if not self._clips:
            return pairs
        # Keras clips the gradients of each device, before they are summed.
        gradients = clip(
            [gradient for gradient, _ in pairs],
            self.clipnorm,
            self.global_clipnorm,
            self.clipvalue,
        )
        return [
            (gradient, variable)
            for gradient, (_, variable) in zip(gradients, pairs, strict=True)
        ]

    def _reduce(self, pairs: Any) -> Any:
        # Gradients of a table on one device go there, in the update step.
        pairs = list(pairs)
        pairs_without_home = [pair for pair in pairs if not self._has_home(pair[1])]
        reduced = iter(
            super()._all_reduce_sum_gradients(pairs_without_home)
            if pairs_without_home
            else []
        )
        return [pair if self._has_home(pair[1]) else next(reduced) for pair in pairs]

    def _distributed_tf_update_step(
        self, distribution: Any, pairs: Any, learning_rate: Any
    ) -> None:
        super()._distributed_tf_update_step(
            distribution,
            [pair for pair in pairs if not self._has_home(pair[1])],
            learning_rate,
        )
        local_results = distribution.experimental_local_results
        for gradient, variable in pairs:
            if self._has_home(variable):
                with tf.device(variable.device):
                    gradient = concatenate(local_results(gradient))
                    self.update_step(
                        gradient, variable, local_results(learning_rate)[0]
                    )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable from its gradient, dense or `tf.IndexedSlices`."""
        key = self._var_key(variable)
        changed = self._get_flags(key)
        if isinstance(variable, keras.Variable):
            variable = variable.value
        dtype = sum_dtype(variable.dtype)
        learning_rate = tf.cast(learning_rate, dtype)
        if self.late_decay is not None and key in self._decayed:
            self.late_decay.catch_up_with(variable, gradient, self._sums_of_rows(key))
        elif key in self._decayed:
            gradient = self._decay.step(variable, gradient, dtype, self.learning_rate)
            if changed is not None:
                changed.assign(tf.ones_like(changed))
                changed = None
        if isinstance(gradient, tf.IndexedSlices):
            values = tf.cast(gradient.values, dtype)
            if changed is not None:
                marks = tf.ones_like(gradient.indices, tf.bool)
                write_rows(changed, gradient.indices, marks)
            self._update_rows(variable, values, gradient.indices, learning_rate)
        else:
            if changed is not None:
                changed.assign(tf.ones_like(changed))
            gradient = tf.cast(gradient, dtype)
            self._update_dense(variable, gradient, learning_rate)

    def _backend_update_step(
        self, grads: Any, trainable_variables: Any, learning_rate: Any
    ) -> None:
        if self.late_decay is not None:
            self.late_decay.add_step(self.learning_rate)
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._decay.config}

    def _update_rows(
        self, variable: tf.Variable, values: Any, rows: Any, learning_rate: Any
    ) -> None:
        """Update `rows` of `variable`, which may name a row several times."""
        raise NotImplementedError

    def _update_dense(
        self, variable: tf.Variable, gradient: Any, learning_rate: Any
    ) -> None:
        """Update all of `variable`."""
        raise NotImplementedError
