"""Ids that come as one tensor for each feature, in a list or a dictionary."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfdlrm.layers._column_rows import names_and_columns
from tfdlrm.layers._id_forms import are_columns, require_integers


def check_names(names: Sequence[str] | None, num_features: int) -> list[str] | None:
    """Return the names of features as a list.

    Raises:
        ValueError: If there is not one name for each feature, or a name occurs twice.
    """
    if names is None:
        return None
    names = list(names)
    if len(names) != num_features or len(set(names)) != len(names):
        raise ValueError(
            f"Got feature_names={names}: expected {num_features} different names, one "
            "for each vocabulary size."
        )
    return names


def in_order(
    columns: Any, names: Sequence[str] | None, num_features: int, title: str
) -> list[Any]:
    """Return columns in the order of the features.

    Args:
        columns: A dictionary, matched by name if there are names and by order
            otherwise, or a list.
        names: Names of the features, or `None`.
        num_features: Number of features.
        title: The layer and the input, for messages.

    Raises:
        ValueError: If columns are missing or there are others.

    Example:

    >>> in_order({"item": 1, "user": 2}, ["user", "item"], 2, "embeddings: ids")
    [2, 1]
    """
    if isinstance(columns, dict) and names is not None:
        if set(columns) != set(names):
            raise ValueError(
                f"{title} are a dictionary of {[*columns]}, expected {list(names)}"
                f"{_difference(set(columns), names)}."
            )
        return [columns[name] for name in names]
    if len(columns) != num_features:
        raise ValueError(
            f"{title} are a {type(columns).__name__} of {len(columns)} columns, "
            f"expected {num_features}: one for each vocabulary size, in that order."
        )
    return list(columns.values() if isinstance(columns, dict) else columns)


def _difference(keys: set[Any], names: Sequence[str]) -> str:
    missing = [name for name in names if name not in keys]
    unknown = sorted(map(str, keys - set(names)))
    texts = [f": {', '.join(missing)} is missing" if missing else ""]
    texts.append(f"; {', '.join(unknown)} is unknown" if unknown else "")
    return "".join(texts)


def split_frame(ids: Any) -> Any:
    """Return the columns of a DataFrame by name; anything else as it is.

    Keras would turn a DataFrame into an array, and lose the names.
    """
    is_frame = hasattr(ids, "iloc") or hasattr(ids, "get_columns")
    if not (is_frame and hasattr(ids, "columns")):
        return ids
    names, columns = names_and_columns(ids)
    arrays = [np.asarray(column) for column in columns]
    return dict(zip(names or [], arrays, strict=True))


def find_feature(
    feature: int | str, names: Sequence[str] | None, num_features: int, layer: str
) -> int:
    """Return the position of a feature.

    Args:
        feature: Its position or its name.
        names: Names of the features, or `None`.
        num_features: Number of features.
        layer: Name of the layer, for the message.

    Raises:
        ValueError: If there is no such feature.
    """
    names = list(names or [])
    if feature in names:
        return names.index(str(feature))
    if isinstance(feature, int) and 0 <= feature < num_features:
        return feature
    or_name = f", or one of {names}" if names else ""
    raise ValueError(
        f"{layer} has no feature {feature!r}: expected 0 to {num_features - 1}"
        f"{or_name}."
    )


def join_columns(
    ids: Any, weights: Any, names: Sequence[str] | None, num_features: int, layer: str
) -> tuple[Any, Any]:
    """Return the ids of all features in one tensor, and their weights in another.

    Args:
        ids: Ids of each feature, in a list or a dictionary: `(batch,)`, `(batch, 1)`,
            padded with negative ids `(batch, width)`, or ragged `(batch, None)`.
        weights: Weights of each feature in the form of its ids, or `None`.
        names: Names of the features, or `None`.
        num_features: Number of features.
        layer: Name of the layer, for messages.

    Returns:
        Ids `(batch, features)` if every row has one; otherwise ragged
        `(batch, features, None)` on TensorFlow and padded on other backends. Weights
        in the same form, or `None`.

    Raises:
        ValueError: If columns are missing, there are others, or a column has another
            form or no integers.
    """
    title = f"{layer}: ids"
    columns = in_order(ids, names, num_features, title)
    columns = [_checked(column, title) for column in columns]
    if len({keras.backend.standardize_dtype(column.dtype) for column in columns}) > 1:
        columns = [_cast(column, "int64") for column in columns]
    numbers = {column.shape[0] for column in columns} - {None}
    if len(numbers) > 1:
        raise ValueError(
            f"{title} have columns of {sorted(numbers)} rows, expected the same number "
            "in each."
        )
    joined = _join(columns, columns)
    if weights is None:
        return joined, None
    if not are_columns(weights):
        raise ValueError(
            f"{layer}: weights are one tensor and ids are columns, expected weights in "
            "the form of the ids."
        )
    weights = in_order(weights, names, num_features, f"{layer}: weights")
    dtype = keras.backend.floatx()
    weights = [_cast(_as_tensor(column), dtype) for column in weights]
    return joined, _join(weights, columns)


def _join(values: Sequence[Any], columns: Sequence[Any]) -> Any:
    """Join values that have the form of the ids in `columns`."""
    if all(map(_is_single, columns)):
        return ops.stack([ops.reshape(column, (-1,)) for column in values], axis=1)
    if keras.backend.backend() != "tensorflow":
        return _join_padded(values)
    import tensorflow as tf

    pairs = zip(values, columns, strict=True)
    return tf.concat([_to_bags(value, ids) for value, ids in pairs], axis=1)


def _join_padded(columns: Sequence[Any]) -> Any:
    columns = [
        ops.expand_dims(column, 1) if len(column.shape) == 1 else column
        for column in columns
    ]
    width = max(column.shape[1] for column in columns)
    padded = [
        ops.pad(column, [[0, 0], [0, width - column.shape[1]]], constant_values=-1)
        for column in columns
    ]
    return ops.stack(padded, axis=1)


def _to_bags(values: Any, ids: Any) -> Any:
    """Return the values of one feature as ragged bags, `(batch, 1, None)`."""
    import tensorflow as tf

    if not isinstance(values, tf.RaggedTensor):
        if isinstance(ids, tf.RaggedTensor):
            raise ValueError(
                f"Got weights of shape {tuple(values.shape)}, expected a "
                "tf.RaggedTensor with the bags of the ids."
            )
        if len(ids.shape) == 1:
            ids, values = ids[:, None], values[:, None]
        values = tf.ragged.boolean_mask(values, ids >= 0)
    return tf.expand_dims(values.with_row_splits_dtype(tf.int64), 1)


def _checked(column: Any, title: str) -> Any:
    column = _as_tensor(column)
    require_integers(column.dtype, title)
    is_ragged = hasattr(column, "row_splits")
    rank = len(column.shape)
    if rank not in (1, 2) or (is_ragged and (rank, column.ragged_rank) != (2, 1)):
        raise ValueError(
            f"{title} have a column of shape {tuple(column.shape)}, expected (batch,), "
            "(batch, width) padded with -1, or a ragged (batch, None)."
        )
    return column


def _as_tensor(column: Any) -> Any:
    return column if hasattr(column, "row_splits") else ops.convert_to_tensor(column)


def _cast(column: Any, dtype: str) -> Any:
    if hasattr(column, "row_splits"):
        import tensorflow as tf

        return tf.cast(column, dtype)
    return ops.cast(column, dtype)


def _is_single(column: Any) -> bool:
    if hasattr(column, "row_splits"):
        return False
    return len(column.shape) == 1 or column.shape[1] == 1
