"""The `Ranking` model of TensorFlow Recommenders, on Keras 2."""

import os

# Without it TensorFlow Recommenders refuses to be imported; TensorFlow reads it once.
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import tensorflow as tf
import tensorflow_recommenders as tfrs

from benchmarks.laboratory.fit import as_dataset, time_fit
from benchmarks.laboratory.measurement import Job, StepTime
from benchmarks.workload.criteo_kaggle import (
    BOTTOM_UNITS,
    EMBEDDING_DIM,
    LEARNING_RATE,
    TOP_UNITS,
    Batches,
)


def build(vocabulary_sizes: list[int]) -> tf.keras.Model:
    """Return a DLRM whose tables are all ordinary Keras embeddings."""
    tables = {
        f"C{i + 1:02}": tf.tpu.experimental.embedding.FeatureConfig(
            table=tf.tpu.experimental.embedding.TableConfig(
                size, EMBEDDING_DIM, combiner="sum", name=f"C{i + 1:02}"
            )
        )
        for i, size in enumerate(vocabulary_sizes)
    }
    mlp = tfrs.layers.blocks.MLP
    return tfrs.experimental.models.Ranking(
        embedding_layer=tfrs.experimental.layers.embedding.PartialTPUEmbedding(
            tables, optimizer=None, size_threshold=None
        ),
        bottom_stack=mlp(list(BOTTOM_UNITS), final_activation="relu"),
        feature_interaction=tfrs.layers.feature_interaction.DotInteraction(),
        top_stack=mlp(list(TOP_UNITS)),
        # Logits, and no metrics, as in the other systems.
        task=tfrs.tasks.Ranking(loss=tf.keras.losses.BinaryCrossentropy(True)),
    )


def time_step(job: Job, vocabulary_sizes: list[int], batches: Batches) -> StepTime:
    """Train and time; see `benchmarks.laboratory.fit.time_fit`."""
    model = build(vocabulary_sizes)
    # The legacy optimizers sum repeated ids and update the rows of a batch only.
    legacy = tf.keras.optimizers.legacy
    optimizer_class = {"sgd": legacy.SGD, "adagrad": legacy.Adagrad}
    model.compile(
        optimizer=optimizer_class[job.optimizer](learning_rate=LEARNING_RATE),
        steps_per_execution=job.steps_per_execution,
    )
    features = {
        "dense_features": batches.dense,
        "sparse_features": {
            f"C{i + 1:02}": batches.ids[..., i] for i in range(len(vocabulary_sizes))
        },
    }
    dataset = as_dataset(features, batches.labels)
    return time_fit(model, dataset, tf.keras.callbacks.LambdaCallback, job)
