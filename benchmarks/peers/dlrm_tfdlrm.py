"""This project's DLRM in an ordinary `fit`."""

import keras
import tensorflow as tf

from benchmarks.laboratory.fit import as_dataset, time_fit
from benchmarks.laboratory.measurement import Job, StepTime
from benchmarks.workload.criteo_kaggle import (
    BOTTOM_UNITS,
    EMBEDDING_DIM,
    LEARNING_RATE,
    TOP_UNITS,
    Batches,
)
from benchmarks.workload.data_set import schema_of
from tfdlrm import optimizers
from tfdlrm.config.models import DLRMConfig
from tfdlrm.models.dlrm import DLRM
from tfdlrm.training.distribution import tables_placed


def build(vocabulary_sizes: list[int]) -> DLRM:
    """Return the DLRM of the workload, in Keras' global dtype policy."""
    config = DLRMConfig(
        embedding_dim=EMBEDDING_DIM,
        bottom_mlp_units=BOTTOM_UNITS[:-1],
        top_mlp_units=TOP_UNITS[:-1],
    )
    return DLRM.from_schema(schema_of(vocabulary_sizes), config)


def time_step(job: Job, vocabulary_sizes: list[int], batches: Batches) -> StepTime:
    """Train and time; see `benchmarks.laboratory.fit.time_fit`."""
    if job.system == "tfdlrm-bf16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    where = "host" if job.tables == "host" else "replicated"
    with tables_placed(tf.distribute.get_strategy(), where):
        model = build(vocabulary_sizes)
    optimizer_class = {"sgd": optimizers.SGD, "adagrad": optimizers.Adagrad}
    model.compile(
        optimizer=optimizer_class[job.optimizer](learning_rate=LEARNING_RATE),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        steps_per_execution=job.steps_per_execution,
    )
    features = {"dense_features": batches.dense, "categorical_features": batches.ids}
    dataset = as_dataset(features, batches.labels)
    return time_fit(model, dataset, keras.callbacks.LambdaCallback, job)
