"""Optimizers that touch the embedding rows of a batch and no others.

Keras' own optimizers, given the gradient of an embedding, square repeated ids one by
one instead of their sum and do arithmetic over the whole table. These sum repeated
ids first and read and write only the rows that the batch named. They are ordinary
Keras optimizers for the TensorFlow backend and take dense gradients too.
"""

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

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable from its gradient, dense or `tf.IndexedSlices`."""
        if isinstance(variable, keras.Variable):
            variable = variable.value
        learning_rate = tf.cast(learning_rate, variable.dtype)
        if isinstance(gradient, tf.IndexedSlices):
            values = tf.cast(gradient.values, variable.dtype)
            self._update_rows(variable, values, gradient.indices, learning_rate)
        else:
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

    def __init__(
        self, learning_rate: Any = 0.01, name: str = "sgd", **kwargs: Any
    ) -> None:
        super().__init__(learning_rate, name, **kwargs)

    def _update_rows(
        self, variable: tf.Variable, values: Any, rows: Any, learning_rate: Any
    ) -> None:
        # A scatter-add sums repeated rows by itself.
        tf.raw_ops.ResourceScatterAdd(
            resource=variable.handle, indices=rows, updates=-learning_rate * values
        )

    def _update_dense(
        self, variable: tf.Variable, gradient: Any, learning_rate: Any
    ) -> None:
        tf.raw_ops.ResourceApplyGradientDescent(
            var=variable.handle, alpha=learning_rate, delta=gradient
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
        initializer = keras.initializers.Constant(self.initial_accumulator_value)
        self._accumulators = [
            self.add_variable_from_reference(
                variable, name="accumulator", initializer=initializer
            )
            for variable in variables
        ]

    def _accumulator(self, variable: tf.Variable) -> tf.Variable:
        return self._accumulators[self._get_variable_index(variable)].value

    def _update_rows(
        self, variable: tf.Variable, values: Any, rows: Any, learning_rate: Any
    ) -> None:
        unique_rows, sums = sum_repeated(rows, values)
        tf.raw_ops.ResourceSparseApplyAdagradV2(
            var=variable.handle,
            accum=self._accumulator(variable).handle,
            lr=learning_rate,
            epsilon=tf.cast(self.epsilon, variable.dtype),
            grad=sums,
            indices=unique_rows,
        )

    def _update_dense(
        self, variable: tf.Variable, gradient: Any, learning_rate: Any
    ) -> None:
        tf.raw_ops.ResourceApplyAdagradV2(
            var=variable.handle,
            accum=self._accumulator(variable).handle,
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
