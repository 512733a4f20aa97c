"""Compile a model with its optimizer, loss and metrics."""

from typing import Any

import keras

from tfdlrm import optimizers
from tfdlrm.config import OptimizerConfig

_OPTIMIZERS = {
    "sgd": optimizers.SGD,
    "adagrad": optimizers.Adagrad,
    "row_wise_adagrad": optimizers.RowWiseAdagrad,
    "lazy_adam": optimizers.LazyAdam,
}


def compile_model(
    model: keras.Model, config: OptimizerConfig, steps_per_execution: int = 1
) -> None:
    """Compile `model` with its optimizer, loss and the metrics of the curves."""
    optimizer: Any = _OPTIMIZERS[config.name](
        learning_rate=learning_rate_of(config.learning_rate, config)
    )
    if model.dtype_policy.name == "mixed_float16":
        optimizer = optimizers.LossScaleOptimizer(optimizer)
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[
            keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0),
            keras.metrics.AUC(name="auc", from_logits=True),
        ],
        steps_per_execution=steps_per_execution,
    )


def learning_rate_of(rate: float, config: OptimizerConfig) -> Any:
    """Return the learning rate of an optimizer, or its schedule.

    Args:
        rate: Learning rate without a schedule.
        config: The optimizer, whose schedule is a factor on the rate.
    """
    if not config.has_schedule:
        return rate
    return optimizers.WarmUpPolynomialDecay(
        rate,
        config.warm_up_steps,
        config.decay_start_step,
        config.decay_steps,
    )
