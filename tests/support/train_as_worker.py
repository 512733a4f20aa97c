"""A worker of a cluster that trains small models: `train_as_worker OUTPUT OPTIMIZER…`.

`OUTPUT-INDEX.npz` gets the weights and the metrics of each optimizer, and the bytes
that this worker sends in a step.
"""

import json
import os
import sys
from itertools import chain

import keras
import numpy as np
import tensorflow as tf

from benchmarks.runs.distributed_step import bytes_sent
from tfdlrm import optimizers
from tfdlrm.data.reading_order import WorkerShare
from tfdlrm.layers import MLP, DotInteraction, EmbeddingCollection
from tfdlrm.models import DLRM
from tfdlrm.training.distribution import distributed, strategy

SIZES = [50_000, 40, 3]
NUM_ROWS, NUM_STEPS, DIM = 105, 6, 4
EPOCHS = 2


def rows():
    """Return bags of several lengths, some of them empty."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 4, NUM_ROWS * len(SIZES))
    flat = rng.integers(0, np.repeat(np.tile(SIZES, NUM_ROWS), lengths))
    flat = np.where(flat > 50, flat % 7, flat)  # so that rows repeat
    bags = tf.RaggedTensor.from_row_lengths(flat, lengths)
    features = {
        "dense_features": rng.normal(size=(NUM_ROWS, 2)).astype("float32"),
        "categorical_features": tf.RaggedTensor.from_uniform_row_length(
            bags, len(SIZES)
        ),
    }
    return features, rng.integers(0, 2, (NUM_ROWS, 1)).astype("float32")


def batches_of(share):
    """Return a worker's batches of uneven sizes; the last worker's first is empty."""
    first_row, sizes = share.rows(NUM_ROWS, NUM_STEPS)
    if share.worker == share.num_workers - 1:
        sizes[1] += sizes[0]
        sizes[0] = 0
    ends = first_row + np.cumsum(sizes)
    return [range(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def data_set(batches):
    indices = tf.ragged.constant([list(batch) for batch in batches])
    return tf.data.Dataset.from_tensor_slices(indices).map(batch_of)


def batch_of(indices):
    features, labels = rows()
    ids = tf.gather(features["categorical_features"], indices)
    batch_features = {
        "dense_features": tf.gather(features["dense_features"], indices),
        # A gather forgets that every row has as many features.
        "categorical_features": tf.RaggedTensor.from_uniform_row_length(
            ids.values, len(SIZES)
        ),
    }
    return batch_features, tf.gather(labels, indices)


def together(num_workers):
    """Return the batches of all workers as those of one."""
    parts = [batches_of(WorkerShare(i, num_workers)) for i in range(num_workers)]
    return [[*chain.from_iterable(step)] for step in zip(*parts, strict=True)]


def make_optimizer(name):
    if name != "CompositeOptimizer":
        return getattr(optimizers, name)(0.1)
    return optimizers.CompositeOptimizer(
        optimizers.Adagrad(0.1, table_weight_decay=0.5),
        keras.optimizers.Adam(0.01, global_clipnorm=0.05),
    )


def make_model(name):
    """Return a model by its optimizer, which `+` and a normalization may follow."""
    optimizer, _, normalization = name.partition("+")
    keras.utils.set_random_seed(0)
    model = DLRM(
        EmbeddingCollection(SIZES, DIM),
        MLP([DIM], final_activation="relu"),
        DotInteraction(),
        MLP([8, 1], normalization=normalization or None),
    )
    model.build(
        {"dense_features": (None, 2), "categorical_features": (None, len(SIZES))}
    )
    steps = make_optimizer(optimizer)
    steps.build(model.trainable_variables)
    model.compile(
        steps,
        keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.AUC(name="auc", from_logits=True)],
    )
    return model


def fit(model, data):
    """Train, and return the metrics of each epoch."""
    return model.fit(
        data, epochs=EPOCHS, steps_per_epoch=NUM_STEPS, verbose=0, shuffle=False
    ).history


def main(output, *names):
    devices = strategy("multi_worker")
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    results = {}
    for name in names:
        with devices.scope():
            model = make_model(name)
        data = distributed(devices, lambda share: data_set(batches_of(share)).repeat())
        history = fit(model, data)
        for position, weight in enumerate(model.get_weights()):
            results[f"{name}/{position}"] = weight
        for metric, values in history.items():
            results[f"{name}/{metric}"] = values
    sent_before = bytes_sent()
    fit(model, data)
    results["sent"] = (bytes_sent() - sent_before) / (EPOCHS * NUM_STEPS)
    np.savez(f"{output}-{index}.npz", **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
