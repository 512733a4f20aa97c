"""What may come as ids, and what is refused in their place."""

from typing import Any

import keras

# Keras has no public name for it.
from keras.src.backend.common.symbolic_scope import in_symbolic_scope


def is_indices_and_offsets(ids: Any, name: str) -> bool:
    """Whether ids are a pair of indices and offsets.

    Args:
        ids: What came.
        name: Whose ids they are, for the message.

    Raises:
        ValueError: If they are columns in a list or dictionary, or a sparse tensor.
    """
    if hasattr(ids, "dense_shape"):
        raise ValueError(
            f"{name}: ids are a {type(ids).__name__}, which cannot tell id 0 from no "
            "id: give a tf.RaggedTensor, or padded ids with -1 where there is none."
        )
    if isinstance(ids, dict) or (isinstance(ids, list | tuple) and not _is_pair(ids)):
        raise ValueError(
            f"{name}: ids are a {type(ids).__name__} of {len(ids)}, expected a tensor "
            "(batch, features) or a pair ([ids of each feature], offsets): put columns "
            "side by side with keras.ops.stack([...], axis=1), in the order of the "
            "vocabulary sizes."
        )
    return isinstance(ids, list | tuple)


def _is_pair(ids: Any) -> bool:
    """Whether it is (sequences, offsets), and not two columns or more."""
    if len(ids) != 2 or not isinstance(ids[0], list | tuple):
        return False
    return len(getattr(ids[1], "shape", ())) == 2


def is_shape(shape: Any) -> bool:
    """Whether this is the shape of one tensor, and not those of several."""
    return all(side is None or isinstance(side, int) for side in shape)


def can_be_equal(shape: Any, other: Any) -> bool:
    """Whether two shapes, of which some sides may be unknown, can be the same.

    Example:

    >>> can_be_equal((None, 3), (8, 3)), can_be_equal((8, 3), (3, 8))
    (True, False)
    """
    return len(shape) == len(other) and all(
        None in (a, b) or a == b for a, b in zip(shape, other, strict=True)
    )


def require_integers(dtype: Any, name: str) -> None:
    """See to it that ids are of an integer type.

    Args:
        dtype: Type of the ids.
        name: Whose ids they are, for the message.

    Raises:
        ValueError: If they are not.
    """
    dtype = keras.backend.standardize_dtype(dtype)
    if "int" in dtype or (dtype == "float64" and _is_mean_of_replicas()):
        return
    raise ValueError(
        f"{name}: ids have dtype {dtype}, expected integers: cast them where they are "
        'whole numbers, and give keras.Input and keras.InputSpec dtype="int64".'
    )


def _is_mean_of_replicas() -> bool:
    """Whether Keras only asks for shapes, under a distribution strategy.

    It traces a model with the mean of the replicas' batches then, and integers have
    become float64; no such value is ever looked up.
    """
    if keras.backend.backend() != "tensorflow" or not in_symbolic_scope():
        return False
    import tensorflow as tf

    return tf.distribute.has_strategy()
