"""Clip gradients, those of embedding rows after repeated rows are summed."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfdlrm.layers._wide_sums import sum_dtype


def sum_repeated(rows: Any, values: Any) -> tuple[Any, Any]:
    """Return the distinct rows of a sparse gradient, and the sum of the values of each.

    Args:
        rows: Integer tensor of shape `(n,)`, with repetitions.
        values: Tensor of shape `(n, dim)`.

    Returns:
        Tensors of shape `(distinct,)` and `(distinct, dim)`.
    """
    unique_rows, positions = tf.unique(rows)
    sums = tf.math.unsorted_segment_sum(values, positions, tf.size(unique_rows))
    return unique_rows, sums


def clip(
    gradients: Sequence[Any],
    clipnorm: float | None,
    global_clipnorm: float | None,
    clipvalue: float | None,
) -> list[Any]:
    """Return clipped gradients.

    Rows without a gradient have the gradient 0, which clipping does not change, and
    which adds nothing to a norm: the rows in a sparse gradient suffice.

    Args:
        gradients: Dense tensors and `tf.IndexedSlices`.
        clipnorm: Largest norm of the gradient of one variable.
        global_clipnorm: Largest norm of all gradients together.
        clipvalue: Largest magnitude of one number.
    """
    gradients = [_with_distinct_rows(gradient) for gradient in gradients]
    if clipnorm:
        return [
            _shrink(gradient, _norm([gradient]), clipnorm) for gradient in gradients
        ]
    if global_clipnorm:
        norm = _norm(gradients)
        return [_shrink(gradient, norm, global_clipnorm) for gradient in gradients]
    if clipvalue:
        bounds = -clipvalue, clipvalue
        return [
            _map(gradient, lambda values: tf.clip_by_value(values, *bounds))
            for gradient in gradients
        ]
    return gradients


def _with_distinct_rows(gradient: Any) -> Any:
    dtype = sum_dtype(gradient.dtype)
    if not isinstance(gradient, tf.IndexedSlices):
        return tf.cast(gradient, dtype)
    values = tf.cast(gradient.values, dtype)
    rows, sums = sum_repeated(gradient.indices, values)
    return tf.IndexedSlices(sums, rows, gradient.dense_shape)


def _norm(gradients: Sequence[Any]) -> Any:
    values = [getattr(gradient, "values", gradient) for gradient in gradients]
    squares = [tf.reduce_sum(tf.square(part)) for part in values]
    widest = max((part.dtype for part in squares), key=lambda dtype: dtype.size)
    return tf.sqrt(tf.add_n([tf.cast(part, widest) for part in squares]))


def _shrink(gradient: Any, norm: Any, largest: float) -> Any:
    factor = largest / tf.maximum(norm, largest)
    return _map(gradient, lambda values: values * tf.cast(factor, values.dtype))


def _map(gradient: Any, function: Any) -> Any:
    """Apply a function to the values of a gradient."""
    if not isinstance(gradient, tf.IndexedSlices):
        return function(gradient)
    values = function(gradient.values)
    return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
