"""Adam that does not move rows outside a batch."""

from typing import Any

import keras
import tensorflow as tf

from tfdlrm.layers._table_rows import write_rows
from tfdlrm.optimizers._clipping import sum_repeated
from tfdlrm.optimizers._row_steps import is_narrow, subtract, subtract_rows
from tfdlrm.optimizers._sparse import SparseOptimizer


@keras.saving.register_keras_serializable("tfdlrm")
class LazyAdam(SparseOptimizer):
    """Adam that moves only the rows of the batch.

    Adam's moments decay at every step, even for rows without a gradient, so that a step
    costs the whole table. Here a row moves and its moments decay only in steps whose
    batch names it; the correction for the moments' start at 0 counts all steps.

    Args:
        learning_rate: A float or a learning-rate schedule.
        beta_1: Decay of the first moment.
        beta_2: Decay of the second moment.
        epsilon: Keeps the division finite.
        name: Name of the optimizer.
        kwargs: See `SparseOptimizer`.

    Example:

    >>> table = tf.Variable([[1.0], [1.0]])
    >>> gradient = tf.IndexedSlices(tf.constant([[3.0], [2.0]]), [1, 1])
    >>> LazyAdam(learning_rate=0.5).apply([gradient], [table])
    >>> table.numpy().round(4).tolist()
    [[1.0], [0.5]]

    Reference:
        [Kingma and Ba, 2014](https://arxiv.org/abs/1412.6980), section 2, in the form
        before section 2.1. Lazy: `tfa.optimizers.LazyAdam` of TensorFlow Addons.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        name: str = "lazy_adam",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, name, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def _add_states(self, variables: Any) -> None:
        self._moments, self._velocities = self.add_optimizer_variables(
            variables, ["momentum", "velocity"]
        )

    def _states_of(self, variable: keras.Variable) -> list[keras.Variable]:
        index = self._get_variable_index(variable)
        return [self._moments[index], self._velocities[index]]

    def _state(self, variable: tf.Variable) -> tuple[tf.Variable, tf.Variable]:
        """Return both moments of `variable`."""
        index = self._get_variable_index(variable)
        return self._moments[index].value, self._velocities[index].value

    def _backend_update_step(
        self, grads: Any, trainable_variables: Any, learning_rate: Any
    ) -> None:
        # The correction for the start of the moments is the same for all variables.
        widths = [tf.as_dtype(variable.dtype).size for variable in trainable_variables]
        dtype = tf.float64 if max(widths) == 8 else tf.float32
        step = tf.cast(self.iterations, dtype) + 1
        correction = tf.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        learning_rate = tf.cast(learning_rate, dtype) * correction
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def _update_rows(
        self, variable: tf.Variable, values: Any, rows: Any, learning_rate: Any
    ) -> None:
        moment, velocity = self._state(variable)
        unique_rows, sums = sum_repeated(rows, values)
        moments = tf.gather(moment, unique_rows)
        velocities = tf.gather(velocity, unique_rows)
        moment_changes, velocity_changes = self._changes(moments, velocities, sums)
        moments += moment_changes
        velocities += velocity_changes
        write_rows(moment, unique_rows, moments)
        write_rows(velocity, unique_rows, velocities)
        steps = learning_rate * self._directions(moments, velocities)
        subtract_rows(variable, unique_rows, steps)

    def _update_dense(
        self, variable: tf.Variable, gradient: Any, learning_rate: Any
    ) -> None:
        moment, velocity = self._state(variable)
        if not is_narrow(variable):
            # One kernel instead of a dozen. It multiplies the learning rate by a
            # correction of its own, which is 1 for powers of 0.
            dtype = variable.dtype
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=moment.handle,
                v=velocity.handle,
                beta1_power=tf.zeros([], dtype),
                beta2_power=tf.zeros([], dtype),
                lr=learning_rate,
                beta1=tf.cast(self.beta_1, dtype),
                beta2=tf.cast(self.beta_2, dtype),
                epsilon=tf.cast(self.epsilon, dtype),
                grad=gradient,
            )
            return
        moment_change, velocity_change = self._changes(moment, velocity, gradient)
        moment.assign_add(moment_change)
        velocity.assign_add(velocity_change)
        subtract(variable, learning_rate * self._directions(moment, velocity))

    def _changes(self, moment: Any, velocity: Any, gradient: Any) -> tuple[Any, Any]:
        """Return the changes of both moments for a gradient."""
        return (
            (1 - self.beta_1) * (gradient - moment),
            (1 - self.beta_2) * (tf.square(gradient) - velocity),
        )

    def _directions(self, moment: Any, velocity: Any) -> Any:
        """Return the steps for a learning rate of 1."""
        return moment / (tf.sqrt(velocity) + self.epsilon)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }
