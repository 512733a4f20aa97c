"""What all optimizers for sparse gradients share."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from tfdlrm.layers._placed_tables import variables_on
from tfdlrm.layers._table_rows import write_rows
from tfdlrm.layers._wide_sums import sum_dtype


class SparseOptimizer(keras.optimizers.Optimizer):
    """Common ground of the optimizers below.

    For variables of 16 bits gradients are added up, and state is kept, in float32.

    Args:
        learning_rate: A float, or a `keras.optimizers.schedules.LearningRateSchedule`.
        name: Name of the optimizer.
        kwargs: What else `keras.optimizers.Optimizer` takes, as far as supported.

    Raises:
        ValueError: If an option is set that would have to touch, at every step, rows
            that no id of the batch named: weight decay, clipping, moving averages and
            gradient accumulation; or under a `tf.distribute.ParameterServerStrategy`.
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
        strategy = self._distribution_strategy
        if isinstance(strategy, tf.distribute.ParameterServerStrategy):
            raise ValueError(
                f"{type(self).__name__} does not work under ParameterServerStrategy: "
                "make model and optimizer under a MirroredStrategy or a "
                "MultiWorkerMirroredStrategy."
            )
        # A function and no dictionary, for Keras would save what is in that.
        self._flags_of: Callable[[Any], Any] = {}.get
        self._at_home: frozenset[Any] = frozenset()

    def build(self, variables: Any) -> None:
        super().build(variables)
        # Those that lie on one device, under a strategy that would copy them.
        self._at_home = frozenset(
            self._var_key(each) for each in variables if hasattr(each, "shard")
        )

    def watch_rows(self, tables: Sequence[keras.Variable]) -> list[tf.Variable]:
        """Keep note, from now on, of the rows of some tables that are updated.

        Args:
            tables: Variables of the model, before a training step is compiled.

        Returns:
            Of each table a bool variable `(rows,)`; a row that is updated becomes true.
        """
        flags = []
        for table in tables:
            with variables_on(getattr(table, "shard", None)):
                rows = tf.zeros(table.shape[0], tf.bool)
                flags.append(tf.Variable(rows, trainable=False))
        keys = [self._var_key(table) for table in tables]
        self._flags_of = dict(zip(keys, flags, strict=True)).get
        return flags

    def row_state(self, table: keras.Variable) -> list[keras.Variable]:
        """The optimizer's variables that have a row for each one of `table`."""
        return []

    @contextmanager
    def _scope(self) -> Iterator[None]:
        """The scope that the optimizer was made in, which is not always on."""
        # A state made outside would be one for all devices, and get each one's update.
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
            return self._add_beside(
                reference_variable, reference_variable.shape, name, initializer
            )
        with self._scope():
            return super().add_variable_from_reference(
                reference_variable, name=name, initializer=initializer
            )

    def _add_beside(
        self, variable: Any, shape: Any, name: str | None, initializer: Any
    ) -> keras.Variable:
        """A state variable where `variable` lies."""
        shard = getattr(variable, "shard", None)
        with self._scope(), variables_on(shard):
            state = self.add_variable(
                shape=shape,
                initializer=initializer,
                dtype=sum_dtype(variable.dtype),
                name=f"{variable.name.partition(':')[0]}_{name}",
            )
        if shard is not None:
            state.shard = shard
        return state

    def _has_home(self, variable: tf.Variable) -> bool:
        return tf.distribute.has_strategy() and self._var_key(variable) in self._at_home

    def _all_reduce_sum_gradients(self, pairs: Any) -> Any:
        # The gradients of a table that has one home go there instead, below.
        pairs = list(pairs)
        homeless = [pair for pair in pairs if not self._has_home(pair[1])]
        reduced = iter(super()._all_reduce_sum_gradients(homeless) if homeless else [])
        return [pair if self._has_home(pair[1]) else next(reduced) for pair in pairs]

    def _distributed_tf_update_step(
        self, distribution: Any, pairs: Any, learning_rate: Any
    ) -> None:
        super()._distributed_tf_update_step(
            distribution,
            [pair for pair in pairs if not self._has_home(pair[1])],
            learning_rate,
        )
        parts_of = distribution.experimental_local_results
        for gradient, variable in pairs:
            if self._has_home(variable):
                with tf.device(variable.device):
                    gradient = _side_by_side(parts_of(gradient))
                    self.update_step(gradient, variable, parts_of(learning_rate)[0])

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable from its gradient, dense or `tf.IndexedSlices`."""
        changed = self._flags_of(self._var_key(variable))
        if isinstance(variable, keras.Variable):
            variable = variable.value
        dtype = sum_dtype(variable.dtype)
        learning_rate = tf.cast(learning_rate, dtype)
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

    def _update_rows(
        self, variable: tf.Variable, values: Any, rows: Any, learning_rate: Any
    ) -> None:
        """Update `rows` of `variable`; a row may be named several times."""
        raise NotImplementedError

    def _update_dense(
        self, variable: tf.Variable, gradient: Any, learning_rate: Any
    ) -> None:
        raise NotImplementedError


def _side_by_side(gradients: Any) -> tf.IndexedSlices:
    """The sparse gradients of several devices as one."""
    return tf.IndexedSlices(
        tf.concat([each.values for each in gradients], axis=0),
        tf.concat([each.indices for each in gradients], axis=0),
    )


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


def is_narrow(variable: tf.Variable) -> bool:
    """Whether a variable has 16 bits, and its state and steps are float32."""
    return variable.dtype in (tf.float16, tf.bfloat16)


def subtract_rows(variable: tf.Variable, rows: Any, steps: Any) -> None:
    """Subtract `steps` from distinct `rows` of `variable`, and round once."""
    if is_narrow(variable):
        before = tf.cast(tf.gather(variable, rows), steps.dtype)
        write_rows(variable, rows, tf.cast(before - steps, variable.dtype))
    else:
        scatter_add(variable, rows, -steps)


def subtract(variable: tf.Variable, steps: Any) -> None:
    """Subtract `steps` from all of `variable`, and round once."""
    if is_narrow(variable):
        steps = tf.cast(variable, steps.dtype) - steps
        variable.assign(tf.cast(steps, variable.dtype))
    else:
        variable.assign_sub(steps)
