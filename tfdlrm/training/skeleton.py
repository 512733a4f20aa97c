"""A model as a run has it, except that its tables have next to no rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import keras
import tensorflow as tf

from tfdlrm.config import TrainConfig
from tfdlrm.config.models import DLRMConfig, ModelConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.models.ensemble import build_ensemble
from tfdlrm.training.compiling import compile_model

_MANY_STEPS = 10**9


def skeleton_of(schema: FeatureSchema, config: TrainConfig) -> keras.Model:
    """Return a compiled model whose variables come in the order of a run's.

    Args:
        schema: The columns.
        config: The settings of the run.
    """
    model_config = config.model
    columns = tuple(
        replace(
            column,
            vocabulary_size=2
            if shares_rows(model_config, column.vocabulary_size)
            else 1,
        )
        for column in schema.categorical_features
    )
    if isinstance(model_config, DLRMConfig) and model_config.num_collisions:
        model_config = replace(model_config, num_collisions=2, collision_threshold=2)
    small_schema = replace(schema, categorical_features=columns)
    with _precision(config.precision), tf.device("CPU:0"):
        model = build_ensemble(small_schema, model_config, config.ensemble)
        # The schedule has no variable, so that its lengths do not matter.
        compile_model(model, config.optimizer.in_steps(_MANY_STEPS, config.epochs))
    return model


def shares_rows(config: ModelConfig, vocabulary_size: int) -> bool:
    """Return whether ids share rows, by the quotient-remainder trick."""
    if not isinstance(config, DLRMConfig) or config.num_collisions is None:
        return False
    return vocabulary_size >= config.collision_threshold


@contextmanager
def _precision(name: str) -> Iterator[None]:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
