"""A DLRM of stock Keras 3 layers and optimizers, with Keras RS' dot interaction."""

import keras
import keras_rs

from benchmarks.laboratory.fit import as_dataset, time_fit
from benchmarks.laboratory.measurement import Job, StepTime
from benchmarks.workload.criteo_kaggle import (
    BOTTOM_UNITS,
    EMBEDDING_DIM,
    LEARNING_RATE,
    TOP_UNITS,
    Batches,
)
from pipelines.synthetic import NUM_DENSE


def build(vocabulary_sizes: list[int]) -> keras.Model:
    """Return a functional model with one `Embedding` a feature."""
    dense = keras.Input((NUM_DENSE,), name="dense_features")
    ids = keras.Input(
        (len(vocabulary_sizes),), dtype="int32", name="categorical_features"
    )
    bottom = dense
    for units in BOTTOM_UNITS:
        bottom = keras.layers.Dense(units, activation="relu")(bottom)
    vectors = [
        keras.layers.Embedding(size, EMBEDDING_DIM)(ids[:, i])
        for i, size in enumerate(vocabulary_sizes)
    ]
    pairs = keras_rs.layers.DotInteraction()([bottom, *vectors])
    top = keras.layers.Concatenate()([bottom, pairs])
    for units in TOP_UNITS[:-1]:
        top = keras.layers.Dense(units, activation="relu")(top)
    logits = keras.layers.Dense(TOP_UNITS[-1])(top)
    return keras.Model({"dense_features": dense, "categorical_features": ids}, logits)


def time_step(job: Job, vocabulary_sizes: list[int], batches: Batches) -> StepTime:
    """Train and time; see `benchmarks.laboratory.fit.time_fit`."""
    model = build(vocabulary_sizes)
    optimizer_class = {
        "sgd": keras.optimizers.SGD,
        "adagrad": keras.optimizers.Adagrad,
    }
    model.compile(
        optimizer=optimizer_class[job.optimizer](learning_rate=LEARNING_RATE),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        steps_per_execution=job.steps_per_execution,
    )
    features = {"dense_features": batches.dense, "categorical_features": batches.ids}
    dataset = as_dataset(features, batches.labels)
    return time_fit(model, dataset, keras.callbacks.LambdaCallback, job)
