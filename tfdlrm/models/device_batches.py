"""Batches on their way to the devices that train on them, for TensorFlow."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# What `tf.distribute.get_strategy` returns without one; it has no public name.
from tensorflow.python.distribute.distribute_lib import _DefaultDistributionExtended

from tfdlrm.layers._devices import has_gpu

_IDS = "categorical_features"
_BAGS, _WIDTH = f"{_IDS}.bags", f"{_IDS}.width"
_GPU = "device:GPU"

AHEAD = 2
"""Batches that wait on a GPU while a step runs."""


def for_devices(
    batches: Any, strategy: tf.distribute.Strategy, weights: Sequence[keras.Variable]
) -> Any:
    """Return batches in the form in which the devices of a strategy get them fast.

    - One GPU without a strategy: batches are copied there while a step runs.
    - Mirrored devices, ragged ids: TensorFlow would send each row as a variant of its
      own, thousands of copies a step. They go as flat tensors instead, of which
      `with_bags` makes ragged ids inside the step.

    Args:
        batches: A `tf.data.Dataset` of tuples that begin with features; anything else
            is returned as it is.
        strategy: The model's, or the default one.
        weights: The model's, as far as it is built.
    """
    if not isinstance(batches, tf.data.Dataset) or _is_on_gpu(batches):
        return batches
    if isinstance(strategy.extended, _DefaultDistributionExtended):
        return _ahead_on_gpu(batches) if _computes_on_gpu(weights) else batches
    if not isinstance(strategy, tf.distribute.MirroredStrategy):
        return batches
    if _has_bags(batches):
        return _in_parts(batches, strategy)
    return batches.map(_wide) if has_gpu() else batches


def with_bags(data: Any) -> Any:
    """Return a batch with ragged ids, where `for_devices` has made them flat."""
    if not (isinstance(data, tuple) and isinstance(data[0], dict) and _BAGS in data[0]):
        return data
    features = dict(data[0])
    bags, width = features.pop(_BAGS), features.pop(_WIDTH).shape[1]
    # A row partition has all its numbers in one type.
    num_rows = tf.shape(features["dense_features"], bags.dtype)[0]
    ids = tf.RaggedTensor.from_value_rowids(
        features[_IDS], bags, num_rows * width, validate=False
    )
    ids = tf.RaggedTensor.from_uniform_row_length(ids, width, num_rows, validate=False)
    return {**features, _IDS: ids}, *data[1:]


def _computes_on_gpu(weights: Sequence[keras.Variable]) -> bool:
    is_there = [_GPU in weight.value.device for weight in weights]
    return has_gpu() and (any(is_there) or not is_there)


def _is_on_gpu(batches: tf.data.Dataset) -> bool:
    return _GPU in batches._variant_tensor.device


def _has_bags(batches: tf.data.Dataset) -> bool:
    """Return whether ids are ragged `(batch, features, None)`, next to dense ones."""
    spec = batches.element_spec
    features = spec[0] if isinstance(spec, tuple) else None
    if not isinstance(features, dict) or "dense_features" not in features:
        return False
    ids = features.get(_IDS)
    return (
        isinstance(ids, tf.RaggedTensorSpec)
        and ids.ragged_rank == 2
        and ids.shape[1] is not None
    )


def _is_numeric(batches: tf.data.Dataset) -> bool:
    """Return whether a GPU can hold all of a batch: no text, nothing ragged."""
    return all(
        isinstance(spec, tf.TensorSpec)
        and spec.dtype.is_numpy_compatible
        and spec.dtype != tf.string
        for spec in tf.nest.flatten(batches.element_spec)
    )


def _flat(features: dict[str, Any], *rest: Any) -> Any:
    """A batch whose ragged ids are two flat tensors: ids, and the bag of each."""
    ids = features[_IDS]
    flat = {
        _IDS: ids.flat_values,
        _BAGS: tf.cast(ids.values.value_rowids(), tf.int32),
        # Only its width counts, which a step knows while it is traced.
        _WIDTH: tf.zeros((0, ids.shape[1]), tf.bool),
    }
    return {**features, **flat}, *rest


def _wide(*batch: Any) -> Any:
    """A batch whose integers stay in a GPU's own memory, as int32 does not."""

    def wide(values: tf.Tensor) -> tf.Tensor:
        return tf.cast(values, tf.int64) if values.dtype == tf.int32 else values

    return tf.nest.map_structure(wide, batch)


def _ahead_on_gpu(batches: tf.data.Dataset) -> tf.data.Dataset:
    num_batches = batches.cardinality()
    flat = batches.map(_flat) if _has_bags(batches) else batches
    if not _is_numeric(flat):
        return batches
    gpu = tf.config.list_logical_devices("GPU")[0].name
    ahead = flat.map(_wide).apply(tf.data.experimental.prefetch_to_device(gpu, AHEAD))
    # TensorFlow forgets it, and Keras would warn that data ran out.
    vars(ahead)["cardinality"] = lambda: num_batches
    return ahead


def _in_parts(
    batches: tf.data.Dataset, strategy: tf.distribute.Strategy
) -> tf.distribute.DistributedDataset:
    """Batches cut into a part for each device, whose ragged ids are flat."""
    num_parts = strategy.num_replicas_in_sync

    def cut(*batch: Any) -> tf.data.Dataset:
        num_rows = tf.shape(batch[0]["dense_features"], tf.int64)[0]
        # The first devices get the rows that are left over, as TensorFlow has it.
        cuts = -(-num_rows * np.arange(num_parts + 1) // num_parts)

        def part(number: tf.Tensor) -> Any:
            rows = slice(cuts[number], cuts[number + 1])
            return _flat(*tf.nest.map_structure(lambda values: values[rows], batch))

        return tf.data.Dataset.range(num_parts).map(part)

    parts = batches.flat_map(cut)
    parts = (parts.map(_wide) if has_gpu() else parts).prefetch(num_parts)
    distributed = strategy.distribute_datasets_from_function(lambda _: parts)
    # Of batches, not of parts: Keras' steps.
    distributed._cardinality = batches.cardinality().numpy()
    return distributed
