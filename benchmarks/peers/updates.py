"""Ways to update an embedding table from a sparse gradient.

Each function takes the name of an optimizer. It returns a function that makes an update
from the table's rows, the number of ids and a seed, or `None` where there is none.
An update is called with the number of the step.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.workload.criteo_kaggle import (
    EMBEDDING_DIM,
    LEARNING_RATE,
    power_law_ids,
)
from tfdlrm import optimizers
from tfdlrm.optimizers._sparse import SparseOptimizer

NUM_GRADIENTS = 8
"""Distinct gradients, used in turn."""

KERAS_NAMES = {"SGD": "SGD", "Adagrad": "Adagrad", "LazyAdam": "Adam"}
"""Keras' optimizer of the same rule; there is no row-wise Adagrad in Keras."""

Update = Callable[[int], object]
MakeUpdate = Callable[[int, int, int], Update]


def names() -> list[str]:
    """Return the names of the optimizers that need no other one."""
    return [
        name
        for name, value in vars(optimizers).items()
        if isinstance(value, type)
        and issubclass(value, SparseOptimizer)
        and value is not SparseOptimizer
    ]


def of_tfdlrm(name: str) -> MakeUpdate:
    """Return the update of this project's optimizer."""
    return partial(_apply, getattr(optimizers, name))


def of_keras(name: str) -> MakeUpdate | None:
    """Return the update of Keras' optimizer of the same rule."""
    if name not in KERAS_NAMES:
        return None
    return partial(_apply, getattr(keras.optimizers, KERAS_NAMES[name]))


def of_bare_operation(name: str, distinct: bool) -> MakeUpdate | None:
    """Return the update of the TensorFlow operation behind an optimizer.

    Args:
        name: The optimizer.
        distinct: Whether it gets distinct ids, their gradients added up beforehand.
            With ids as they come, `Adagrad`'s does the same work and returns wrong
            numbers.
    """
    operations = {"SGD": _bare_sgd, "Adagrad": _bare_adagrad}
    if name not in operations:
        return None
    return partial(operations[name], distinct)


def _apply(optimizer_class: Any, num_rows: int, num_ids: int, seed: int) -> Update:
    table = keras.Variable(tf.zeros((num_rows, EMBEDDING_DIM)))
    optimizer = optimizer_class(learning_rate=LEARNING_RATE)
    optimizer.build([table])
    gradients = _gradients(num_rows, num_ids, seed)

    @tf.function
    def update(ids: Any, values: Any) -> None:
        slices = tf.IndexedSlices(values, ids, tf.constant((num_rows, EMBEDDING_DIM)))
        optimizer.apply([slices], [table])

    return lambda i: update(*gradients[i % NUM_GRADIENTS])


def _bare_sgd(distinct: bool, num_rows: int, num_ids: int, seed: int) -> Update:
    table = tf.Variable(tf.zeros((num_rows, EMBEDDING_DIM)))
    gradients = _gradients(num_rows, num_ids, seed)
    if distinct:
        gradients = [_sum_repeated(*gradient) for gradient in gradients]

    @tf.function(reduce_retracing=True)
    def update(ids: Any, values: Any) -> None:
        tf.raw_ops.ResourceScatterAdd(
            resource=table.handle, indices=ids, updates=-LEARNING_RATE * values
        )

    return lambda i: update(*gradients[i % NUM_GRADIENTS])


def _bare_adagrad(distinct: bool, num_rows: int, num_ids: int, seed: int) -> Update:
    table, accumulator = (
        tf.Variable(tf.zeros((num_rows, EMBEDDING_DIM))) for _ in range(2)
    )
    gradients = _gradients(num_rows, num_ids, seed)
    if distinct:
        gradients = [_sum_repeated(*gradient) for gradient in gradients]

    @tf.function(reduce_retracing=True)
    def update(ids: Any, values: Any) -> None:
        tf.raw_ops.ResourceSparseApplyAdagradV2(
            var=table.handle,
            accum=accumulator.handle,
            lr=LEARNING_RATE,
            epsilon=1e-10,
            grad=values,
            indices=ids,
        )

    return lambda i: update(*gradients[i % NUM_GRADIENTS])


def _gradients(num_rows: int, num_ids: int, seed: int) -> list[tuple[Any, Any]]:
    """Return ids with repetitions, `(num_ids,)`, and gradients, `(num_ids, dim)`."""
    rng = np.random.default_rng(seed)
    return [
        (
            tf.constant(power_law_ids(rng, num_rows, (num_ids,))),
            tf.constant(rng.normal(size=(num_ids, EMBEDDING_DIM)), tf.float32),
        )
        for _ in range(NUM_GRADIENTS)
    ]


def _sum_repeated(ids: Any, values: Any) -> tuple[Any, Any]:
    distinct, positions = tf.unique(ids)
    return distinct, tf.math.unsorted_segment_sum(values, positions, tf.size(distinct))
