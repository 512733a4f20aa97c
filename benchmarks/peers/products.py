"""The matrix products of a training step and nothing else, as TensorFlow runs them.

No system that computes the same products can have a faster step: the difference is
what could be saved.
"""

from collections.abc import Sequence
from itertools import pairwise

import tensorflow as tf

from benchmarks.laboratory.machine import memory_gb
from benchmarks.laboratory.measurement import Job, StepTime
from benchmarks.laboratory.timing import time_calls
from benchmarks.workload.criteo_kaggle import (
    BOTTOM_UNITS,
    EMBEDDING_DIM,
    NUM_DENSE,
    TOP_UNITS,
    Batches,
    interaction_pairs,
)


def time_step(job: Job, vocabulary_sizes: list[int], batches: Batches) -> StepTime:
    """Time the products of forward and backward pass, one step after another."""
    dtype = tf.bfloat16 if job.system.endswith("-bf16") else tf.float32
    bottom = _weights((NUM_DENSE, *BOTTOM_UNITS), dtype)
    top = _weights((EMBEDDING_DIM + interaction_pairs(), *TOP_UNITS), dtype)
    size, num_vectors = job.batch_size, len(vocabulary_sizes) + 1
    vectors = tf.random.normal((size, num_vectors, EMBEDDING_DIM), dtype=dtype)
    top_input = tf.random.normal((size, top[0].shape[0]), dtype=dtype)
    dense = tf.cast(batches.dense[0], dtype)

    @tf.function
    def steps() -> tf.Tensor:
        factor = tf.ones((), dtype)
        for _ in tf.range(job.steps_per_execution):
            # Each step waits for the one before, as training does.
            products = [
                *_tower(dense * factor, bottom, needs_input_gradient=False),
                *_tower(top_input * factor, top, needs_input_gradient=True),
                _interaction(vectors * factor),
            ]
            factor = tf.add_n([tf.reshape(product, (-1,))[0] for product in products])
        return factor

    stopwatch = time_calls(
        lambda _: steps().numpy(),
        job.seconds,
        -(-job.min_steps // job.steps_per_execution),
    )
    ms = stopwatch.ms / job.steps_per_execution
    num_steps = stopwatch.steps * job.steps_per_execution
    return StepTime(ms, num_steps, loss=0.0, rss_gb=memory_gb())


def _weights(units: Sequence[int], dtype: tf.DType) -> list[tf.Tensor]:
    return [tf.random.normal(shape, dtype=dtype) for shape in pairwise(units)]


def _tower(
    inputs: tf.Tensor, weights: Sequence[tf.Tensor], needs_input_gradient: bool
) -> list[tf.Tensor]:
    """Return the gradients of an MLP's weights, the last first, and of its inputs.

    The outputs stand for their own gradient. That of the inputs comes last; without
    it, that of the first layer's outputs does.
    """
    layers = [inputs]
    for weight in weights:
        layers.append(tf.matmul(layers[-1], weight))
    gradient, gradients = layers.pop(), []
    for weight in reversed(weights):
        inputs = layers.pop()
        gradients.append(tf.matmul(inputs, gradient, transpose_a=True))
        if layers or needs_input_gradient:
            gradient = tf.matmul(gradient, weight, transpose_b=True)
    return [*gradients, gradient]


def _interaction(vectors: tf.Tensor) -> tf.Tensor:
    """Return the vectors' gradient; the dot products stand for theirs.

    Both are symmetric.
    """
    products = tf.matmul(vectors, vectors, transpose_b=True)
    return tf.matmul(products, vectors)
