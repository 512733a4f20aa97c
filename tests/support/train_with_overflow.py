"""Small models in float16, one of whose batches overflows on one replica.

As a command it is a worker of a cluster: `train_with_overflow OUTPUT REPLICA` writes
what `train_an_epoch` returns to `OUTPUT-INDEX.npz`.
"""

import json
import os
import sys

import keras
import numpy as np
import tensorflow as tf

from tfdlrm.config import OptimizerConfig
from tfdlrm.data.reading import without_tuning
from tfdlrm.layers import MLP, DotInteraction, EmbeddingCollection
from tfdlrm.models import DLRM
from tfdlrm.training.compiling import compile_model
from tfdlrm.training.distribution import distributed, strategy, tables_placed

SIZES = [20, 20, 20]
ROWS = sum(SIZES)
NUM_BATCHES, REPLICA_ROWS, REPLICAS = 3, 8, 2
BATCH = REPLICA_ROWS * REPLICAS


def small_model(devices, tables="replicated"):
    with devices.scope(), tables_placed(devices, tables):
        keras.utils.set_random_seed(0)
        model = DLRM(
            EmbeddingCollection(SIZES, 4),
            MLP([8, 4], final_activation="relu"),
            DotInteraction(),
            MLP([8, 1]),
        )
        model.build({"dense_features": (None, 2), "categorical_features": (None, 3)})
        compile_model(model, OptimizerConfig("adagrad", 0.1))
        model.optimizer.build(model.trainable_variables)
    return model


def batches_with_overflow(replica, share=None):
    """Return three batches; a replica's rows of the second one overflow float16.

    Args:
        replica: The replica, or `None` for no overflow.
        share: A worker's share of each batch; `None` for all of it.
    """
    rng = np.random.default_rng(0)
    dense = rng.random((NUM_BATCHES * BATCH, 2)).astype("float32")
    if replica is not None:
        first_row = BATCH + REPLICA_ROWS * replica
        dense[first_row : first_row + REPLICA_ROWS] = 6e4
    ids = rng.integers(0, 20, (NUM_BATCHES * BATCH, 3))
    labels = (rng.random((NUM_BATCHES * BATCH, 1)) < 0.3).astype("float32")
    rows = {"dense_features": dense, "categorical_features": ids}, labels
    parts = tf.data.Dataset.from_tensor_slices(rows)
    if share is None:
        return parts.batch(BATCH).with_options(without_tuning())
    parts = parts.batch(REPLICA_ROWS).shard(REPLICAS, share.worker)
    return parts.with_options(without_tuning())


def train_an_epoch(name, tables, replica):
    """Train for an epoch, and return the weights and the loss scale.

    The last weights are the numbers of all tables in ascending order, which do not
    depend on where rows of tables lie.
    """
    keras.config.set_dtype_policy("mixed_float16")
    devices = strategy(name)
    model = small_model(devices, tables)
    batches = distributed(devices, lambda share: batches_with_overflow(replica, share))
    model.fit(batches, steps_per_epoch=NUM_BATCHES, verbose=0, shuffle=False)
    scale = model.optimizer.dynamic_scale.value
    (scale, *_) = devices.experimental_local_results(scale)
    weights = {id(w): w.numpy() for w in model.trainable_weights}
    tables = [weights.pop(id(table)) for table in model.embeddings.tables]
    numbers = np.sort(np.concatenate([table.ravel() for table in tables]))
    return [*weights.values(), numbers], float(scale)


def main(output, replica):
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    weights, scale = train_an_epoch("multi_worker", "replicated", int(replica))
    np.savez(f"{output}-{index}.npz", *weights, scale=scale)


if __name__ == "__main__":
    main(*sys.argv[1:])
