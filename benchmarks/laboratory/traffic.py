"""Bytes that a training step moves through the memory of its device."""

import numpy as np

from benchmarks.laboratory.measurement import Job
from benchmarks.workload.criteo_kaggle import (
    BOTTOM_UNITS,
    EMBEDDING_DIM,
    NUM_DENSE,
    TOP_UNITS,
    interaction_pairs,
    make_batches,
    vocabulary_sizes,
)

FLOAT_BYTES = ID_BYTES = 4


def bytes_per_step(job: Job) -> int:
    """Return the bytes that a step of this workload has to read and write.

    A batch is read once. The output of a layer is written and read once, and so is its
    gradient. Each distinct row is read to look it up, and it and its
    state are read and written to update it, where tables lie on the device. Weights of
    dense layers, and what an operation reads or writes again, are not counted.
    """
    sizes = vocabulary_sizes(job.table_scale)
    batch = make_batches(sizes, job.batch_size, job.seed, num_batches=1)
    sample = NUM_DENSE * FLOAT_BYTES + len(sizes) * ID_BYTES + FLOAT_BYTES
    total = job.batch_size * (sample + _bytes_between_layers(job, len(sizes)))
    if job.tables == "device":
        distinct = sum(len(np.unique(column)) for column in batch.ids[0].T)
        passes = 5 if job.optimizer == "adagrad" else 3
        total += distinct * passes * EMBEDDING_DIM * FLOAT_BYTES
    return total


def _bytes_between_layers(job: Job, num_features: int) -> int:
    """Return the bytes a sample of the outputs of layers and of their gradients."""
    top_width = EMBEDDING_DIM + interaction_pairs()
    numbers = [*BOTTOM_UNITS, num_features * EMBEDDING_DIM, top_width, *TOP_UNITS]
    number_bytes = 2 if job.system.endswith("-bf16") else FLOAT_BYTES
    return 4 * sum(numbers) * number_bytes
