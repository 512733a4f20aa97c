"""Compile a model with its optimizer, loss and metrics."""

from typing import Any

import keras

from tfdlrm import optimizers
from tfdlrm.config import OptimizerConfig
from tfdlrm.config.schedules import CosineConfig, PiecewiseConfig, ScheduleConfig
from tfdlrm.optimizers.schedules import RunSchedule

_OPTIMIZERS = {
    "sgd": optimizers.SGD,
    "adagrad": optimizers.Adagrad,
    "row_wise_adagrad": optimizers.RowWiseAdagrad,
    "lazy_adam": optimizers.LazyAdam,
}

_DENSE_OPTIMIZERS = {
    "sgd": keras.optimizers.SGD,
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "nadam": keras.optimizers.Nadam,
    "adamax": keras.optimizers.Adamax,
    "rmsprop": keras.optimizers.RMSprop,
    "adagrad": keras.optimizers.Adagrad,
    "adadelta": keras.optimizers.Adadelta,
    "adafactor": keras.optimizers.Adafactor,
    "ftrl": keras.optimizers.Ftrl,
    "lamb": keras.optimizers.Lamb,
    "lion": keras.optimizers.Lion,
}


def compile_model(
    model: keras.Model, config: OptimizerConfig, steps_per_execution: int = 1
) -> None:
    """Compile `model` with its optimizer, loss and the metrics of the curves."""
    optimizer = _table_optimizer(config)
    if config.dense.name is not None:
        optimizer = optimizers.CompositeOptimizer(optimizer, _dense_optimizer(config))
    if config.decays_late:
        optimizer.build(model.trainable_variables)
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


def _table_optimizer(config: OptimizerConfig) -> Any:
    arguments: dict[str, Any] = {}
    if config.epsilon is not None:
        arguments["epsilon"] = config.epsilon
    if config.initial_accumulator:
        arguments["initial_accumulator_value"] = config.initial_accumulator
    return _OPTIMIZERS[config.name](
        learning_rate=learning_rate_of(config.learning_rate, config),
        table_l2=config.table_l2,
        table_weight_decay=config.table_weight_decay,
        decay_of=config.decay_of,
        **arguments,
    )


def _dense_optimizer(config: OptimizerConfig) -> Any:
    dense = config.dense
    assert dense.name is not None
    arguments: dict[str, Any] = {}
    if dense.weight_decay is not None:
        arguments["weight_decay"] = dense.weight_decay
    if dense.momentum:
        arguments["momentum"] = dense.momentum
    return _DENSE_OPTIMIZERS[dense.name](
        learning_rate=learning_rate_of(dense.learning_rate, config),
        global_clipnorm=dense.clip_norm,
        **arguments,
    )


def learning_rate_of(rate: float, config: OptimizerConfig) -> Any:
    """Return the learning rate of an optimizer, or its schedule.

    Args:
        rate: Learning rate without a schedule.
        config: The optimizer, whose schedule is a factor on the rate.
    """
    if config.schedule is not None:
        return _schedule_of(rate, config.schedule)
    if not config.has_schedule:
        return rate
    return optimizers.WarmUpPolynomialDecay(
        rate,
        config.warm_up_steps,
        config.decay_start_step,
        config.decay_steps,
    )


def _schedule_of(rate: float, config: ScheduleConfig) -> RunSchedule:
    """Return the schedule of a learning rate, whose lengths are in steps."""
    if isinstance(config, CosineConfig):
        if config.steps is None:
            raise ValueError("Got a cosine without steps: call `in_steps` first.")
        return optimizers.WarmUpCosineDecay(
            rate, config.steps, config.final_share, config.warm_up_steps
        )
    if isinstance(config, PiecewiseConfig):
        if not config.steps:
            raise ValueError("Got factors without steps: call `in_steps` first.")
        return optimizers.WarmUpPiecewiseDecay(
            rate, config.steps, config.factors, config.warm_up_steps
        )
    return optimizers.WarmUpPlateauDecay(
        rate, config.factor, config.min_rate, warm_up_steps=config.warm_up_steps
    )
