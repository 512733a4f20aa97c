"""Batch normalization with the statistics of a whole batch, however it is cut."""

import math
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("tfdlrm")
class BatchNormalization(keras.layers.Layer):
    """Center and scale each unit by its mean and variance over the rows of a batch.

    It differs from Keras' layer of that name where rows are few or cut into parts:

    - Under a strategy with several replicas the statistics are those of all rows of the
      batch. A replica counts by its rows, of which there may be none.
    - The moving statistics are averages over rows, not over batches: a small last batch
      weighs little, and the first batch is not mixed with initial values.
    - A batch of one row has no variance: it is normalized by the moving statistics,
      which it does not change.
    - The moving statistics leave out those that are not finite, of a batch that
      overflowed in 16 bits.

    Statistics are computed and kept in 32 bits or more.

    Args:
        momentum: Weight that earlier rows keep in the moving statistics when a batch is
            added: 0.9 averages over about ten batches, since the weights below move.
        epsilon: Added to the variance.

    Call arguments:
        inputs: Float tensor of shape `(batch, …, units)`; each position is a row.
        training: Whether to use and to record the statistics of these rows. A layer
            whose `trainable` is false uses the moving statistics, as in Keras.

    Returns:
        Tensor of the shape of the inputs.

    Example:

    >>> import numpy as np
    >>> rows = np.array([[1.0, 10.0], [3.0, 30.0]], "float32")
    >>> np.round(BatchNormalization()(rows, training=True), 3).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]

    Reference:
        [Ioffe and Szegedy, 2015](https://arxiv.org/abs/1502.03167), algorithm 1.
    """

    def __init__(
        self, momentum: float = 0.9, epsilon: float = 1e-5, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum!r}: expected in [0, 1).")
        if not epsilon > 0:
            raise ValueError(f"epsilon is {epsilon!r}: expected > 0.")
        self.momentum = momentum
        self.epsilon = epsilon
        self._statistics_dtype = keras.backend.result_type(
            self.variable_dtype, "float32"
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        units = input_shape[-1]
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: units})
        for name, initial in (("gamma", "ones"), ("beta", "zeros")):
            weight = self.add_weight(
                name=name, shape=(units,), initializer=initial, autocast=False
            )
            setattr(self, name, weight)
        self.moving_mean = self._add_statistic("moving_mean", (units,), "zeros")
        self.moving_variance = self._add_statistic("moving_variance", (units,), "ones")
        # Rows behind the moving statistics, each counted by the weight it still has.
        self.moving_rows = self._add_statistic("moving_rows", (), "zeros")

    def _add_statistic(self, name: str, shape: Any, initial: str) -> Any:
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initial,
            dtype=self._statistics_dtype,
            trainable=False,
            autocast=False,
            aggregation=_aggregation(),
        )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        values = ops.cast(inputs, self._statistics_dtype)
        mean, variance = self.moving_mean.value, self.moving_variance.value
        if training and self.trainable:
            rows, batch_mean, batch_variance = _moments(values)
            is_single = rows < 2
            self._record(rows, batch_mean, batch_variance)
            mean = ops.where(is_single, mean, batch_mean)
            variance = ops.where(is_single, variance, batch_variance)
        gamma, beta = (
            ops.cast(weight, self._statistics_dtype)
            for weight in (self.gamma, self.beta)
        )
        scale = ops.rsqrt(variance + self.epsilon) * gamma
        return ops.cast((values - mean) * scale + beta, self.compute_dtype)

    def _record(self, rows: Any, mean: Any, variance: Any) -> None:
        is_finite = ops.all(ops.isfinite(mean)) & ops.all(ops.isfinite(variance))
        is_used = is_finite & (rows >= 2)
        all_rows = self.momentum * self.moving_rows.value + rows
        share = rows / all_rows
        for moving, value in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            old = moving.value
            new = old + share * (ops.stop_gradient(value) - old)
            moving.assign(ops.where(is_used, new, old))
        self.moving_rows.assign(ops.where(is_used, all_rows, self.moving_rows.value))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
        }


def _moments(values: Any) -> tuple[Any, Any, Any]:
    """Return the number of rows of a batch, and each unit's mean and variance."""
    axes = tuple(range(len(values.shape) - 1))
    shape = ops.shape(values)
    rows = ops.cast(math.prod(shape[:-1]), values.dtype)
    divisor = ops.maximum(rows, 1.0)  # a replica may have no rows
    mean = ops.sum(values, axes) / divisor
    squares = ops.sum(ops.square(values - mean), axes)  # around the mean
    if keras.backend.backend() == "tensorflow":
        from tfdlrm.layers._replica_moments import of_all_replicas

        rows, mean, squares = of_all_replicas(rows, mean, squares)
        divisor = ops.maximum(rows, 1.0)
    return rows, mean, squares / divisor


def _aggregation() -> str:
    """Return how replicas agree on a statistic, which is the same on each of them."""
    if keras.backend.backend() != "tensorflow":
        return "none"
    from tfdlrm.layers._replica_moments import has_one_copy

    return "only_first_replica" if has_one_copy() else "none"
