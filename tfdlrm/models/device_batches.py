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
    """Return batches in the form that reaches the devices of a strategy fastest.

    - One GPU without a strategy: batches are copied to it while a step runs.
    - Mirrored devices, ragged ids: TensorFlow would send each row as a separate
      variant, thousands of copies a step. Ids go as flat tensors instead, which
      `with_bags` turns into ragged ids inside the step.

    Args:
        batches: A `tf.data.Dataset` of tuples that begin with features; anything else
            is returned as it is.
        strategy: Strategy of the model, or the default one.
        weights: Weights of the model; none if it is not built.
    """
    if not isinstance(batches, tf.data.Dataset) or _is_on_gpu(batches):
        return batches
    if isinstance(strategy.extended, _DefaultDistributionExtended):
        return _prefetch_to_gpu(batches) if _computes_on_gpu(weights) else batches
    if not isinstance(strategy, tf.distribute.MirroredStrategy):
        return batches
    if _has_bags(batches):
        return _cut_into_parts(batches, strategy)
    return batches.map(_widen) if has_gpu() else batches


def with_bags(data: Any) -> Any:
    """Return a batch with ragged ids if `for_devices` has made them flat."""
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
    are_on_gpu = [_GPU in weight.value.device for weight in weights]
    return has_gpu() and (any(are_on_gpu) or not are_on_gpu)


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


def _flatten(features: dict[str, Any], *labels: Any) -> Any:
    """Replace the ragged ids of a batch by two flat tensors: ids, and their bags."""
    ids = features[_IDS]
    flat = {
        _IDS: ids.flat_values,
        _BAGS: tf.cast(ids.values.value_rowids(), tf.int32),
        # Empty: a step reads the number of features from the shape while traced.
        _WIDTH: tf.zeros((0, ids.shape[1]), tf.bool),
    }
    return {**features, **flat}, *labels


def _widen(*batch: Any) -> Any:
    """Cast int32 to int64, which stays in a GPU's own memory, as int32 does not."""

    def widen(values: tf.Tensor) -> tf.Tensor:
        return tf.cast(values, tf.int64) if values.dtype == tf.int32 else values

    return tf.nest.map_structure(widen, batch)


def _prefetch_to_gpu(batches: tf.data.Dataset) -> tf.data.Dataset:
    num_batches = batches.cardinality()
    flat = batches.map(_flatten) if _has_bags(batches) else batches
    if not _is_numeric(flat):
        return batches
    gpu = tf.config.list_logical_devices("GPU")[0].name
    prefetched = flat.map(_widen).apply(
        tf.data.experimental.prefetch_to_device(gpu, AHEAD)
    )
    # TensorFlow loses the cardinality, and Keras would warn that data ran out.
    vars(prefetched)["cardinality"] = lambda: num_batches
    return prefetched


def _cut_into_parts(
    batches: tf.data.Dataset, strategy: tf.distribute.Strategy
) -> tf.distribute.DistributedDataset:
    """Cut batches into a part for each device, with flat ids."""
    num_parts = strategy.num_replicas_in_sync

    def cut(*batch: Any) -> tf.data.Dataset:
        num_rows = tf.shape(batch[0]["dense_features"], tf.int64)[0]
        # The first devices get the surplus rows, as in TensorFlow.
        cuts = -(-num_rows * np.arange(num_parts + 1) // num_parts)

        def part(number: tf.Tensor) -> Any:
            rows = slice(cuts[number], cuts[number + 1])
            return _flatten(*tf.nest.map_structure(lambda values: values[rows], batch))

        return tf.data.Dataset.range(num_parts).map(part)

    parts = batches.flat_map(cut)
    parts = (parts.map(_widen) if has_gpu() else parts).prefetch(num_parts)
    distributed = strategy.distribute_datasets_from_function(lambda _: parts)
    # The number of batches, not of parts: Keras' steps.
    distributed._cardinality = batches.cardinality().numpy()
    return distributed
