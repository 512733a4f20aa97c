"""Check the form and the type in which ids come."""

from collections.abc import Sequence
from typing import Any

import keras

# Keras has no public name for it.
from keras.src.backend.common.symbolic_scope import in_symbolic_scope


def is_indices_and_offsets(ids: Any, name: str) -> bool:
    """Return whether ids are a pair of indices and offsets.

    Args:
        ids: Ids as a layer was called with them.
        name: The layer, for the message.

    Raises:
        ValueError: If ids are a sparse tensor.
    """
    if hasattr(ids, "dense_shape"):
        raise ValueError(
            f"{name}: ids are a {type(ids).__name__}, which cannot distinguish id 0 "
            "from no id: give a tf.RaggedTensor, or padded ids with -1 where there is "
            "none."
        )
    return isinstance(ids, list | tuple) and _is_pair(ids)


def are_columns(ids: Any) -> bool:
    """Return whether ids are a list or a dictionary of one tensor for each feature."""
    return isinstance(ids, dict) or (
        isinstance(ids, list | tuple) and not _is_pair(ids)
    )


def _is_pair(ids: Sequence[Any]) -> bool:
    """Return whether ids are (sequences, offsets), and not two or more columns."""
    if len(ids) != 2 or not isinstance(ids[0], list | tuple):
        return False
    return len(getattr(ids[1], "shape", ())) == 2


def is_shape(shape: Any) -> bool:
    """Return whether this is the shape of one tensor, not a sequence of shapes."""
    return all(side is None or isinstance(side, int) for side in shape)


def can_be_equal(shape: Any, other_shape: Any) -> bool:
    """Return whether two shapes, with `None` for unknown sides, can be the same.

    Example:

    >>> can_be_equal((None, 3), (8, 3)), can_be_equal((8, 3), (3, 8))
    (True, False)
    """
    return len(shape) == len(other_shape) and all(
        None in (a, b) or a == b for a, b in zip(shape, other_shape, strict=True)
    )


def require_integers(dtype: Any, name: str) -> None:
    """Check that ids are of an integer type.

    Args:
        dtype: Type of the ids.
        name: The layer, for the message.

    Raises:
        ValueError: If the type is not an integer type.
    """
    dtype = keras.backend.standardize_dtype(dtype)
    if "int" in dtype or (dtype == "float64" and _is_mean_of_replicas()):
        return
    raise ValueError(
        f"{name}: ids have dtype {dtype}, expected integers: cast them where they are "
        'whole numbers, and give keras.Input and keras.InputSpec dtype="int64".'
    )


def _is_mean_of_replicas() -> bool:
    """Return whether Keras only asks for shapes, under a distribution strategy.

    Keras then traces a model with the mean of the replicas' batches, in which integers
    have become float64; no such value is ever looked up.
    """
    if keras.backend.backend() != "tensorflow" or not in_symbolic_scope():
        return False
    import tensorflow as tf

    return tf.distribute.has_strategy()
