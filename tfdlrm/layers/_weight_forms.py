"""Check that the weights of ids are arranged as the ids are.

As many weights in another arrangement would silently weigh other ids.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfdlrm.layers._id_forms import can_be_equal


def dense_weights(ids: Any, weights: Any) -> Any:
    """Return the weights of ids in one tensor, after a check of their shape.

    Args:
        ids: Tensor `(batch, features)` or `(batch, features, width)`.
        weights: Weights as the layer was called with them.

    Raises:
        ValueError: If the shapes differ.
        tf.errors.InvalidArgumentError: If the shapes differ, and only a running graph
            knows them.
    """
    if hasattr(weights, "row_splits") or isinstance(weights, list | tuple):
        raise _form_error(weights, f"a tensor of shape {tuple(ids.shape)}")
    weights = ops.convert_to_tensor(weights)
    if not can_be_equal(weights.shape, ids.shape):
        raise ValueError(
            f"Got weights of shape {tuple(weights.shape)}, expected that of the ids, "
            f"{tuple(ids.shape)}: one weight for each id."
        )
    is_known = None not in ids.shape and None not in weights.shape
    if is_known or keras.backend.backend() != "tensorflow":
        return weights
    import tensorflow as tf

    return _after_check(tf.shape(ids), tf.shape(weights), weights)


def ragged_weights(ids: Any, weights: Any) -> Any:
    """Return the weights of ragged ids in one sequence, after a check of their bags.

    Args:
        ids: A `tf.RaggedTensor` `(batch, features, None)`.
        weights: Weights as the layer was called with them.

    Raises:
        ValueError: If weights are not of ragged rank 2.
        tf.errors.InvalidArgumentError: If bags of weights and of ids differ in length.
    """
    import tensorflow as tf

    if getattr(weights, "ragged_rank", None) != 2:
        raise _form_error(weights, "a tf.RaggedTensor with the bags of the ids")
    values = weights.flat_values
    splits = zip(ids.nested_row_splits, weights.nested_row_splits, strict=True)
    for expected, actual in splits:
        if actual is not expected:
            expected, actual = tf.cast(expected, tf.int64), tf.cast(actual, tf.int64)
            values = _after_check(expected, actual, values)
    return values


def listed_weights(indices: Sequence[Any], weights: Any) -> Any:
    """Return the weights of each feature's ids in one sequence, after a check.

    Args:
        indices: Each feature's ids in one sequence.
        weights: Weights as the layer was called with them.

    Raises:
        ValueError: If there are weights for more or fewer features.
        tf.errors.InvalidArgumentError: If a feature has not as many weights as ids.
    """
    import tensorflow as tf

    is_list = isinstance(weights, list | tuple)
    if not is_list or len(weights) != len(indices):
        expected_form = f"a list of {len(indices)} sequences, one for each feature"
        raise _form_error(weights, expected_form)
    dtype = keras.backend.floatx()
    sequences = [tf.cast(tf.convert_to_tensor(values), dtype) for values in weights]
    flat = tf.concat([tf.reshape(values, [-1]) for values in sequences], axis=0)
    expected = tf.stack([tf.size(ids) for ids in indices])
    actual = tf.stack([tf.size(values) for values in sequences])
    return _after_check(expected, actual, flat)


def _after_check(expected: Any, actual: Any, values: Any) -> Any:
    """Return the values after a check that both tensors of sizes are equal."""
    import tensorflow as tf

    message = "weights differ from ids in shape: expected one weight for each id"
    check = tf.debugging.assert_equal(actual, expected, message)
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(values)


def _form_error(weights: Any, expected: str) -> ValueError:
    size = f" of {len(weights)}" if isinstance(weights, list | tuple) else ""
    return ValueError(
        f"Got weights as a {type(weights).__name__}{size}, expected {expected}: they "
        "come in the form of the ids."
    )
