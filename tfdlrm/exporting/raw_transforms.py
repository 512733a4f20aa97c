"""Numbers of raw rows to dense features and buckets, inside a served graph.

The operations are those of `tfdlrm.data.transforms` in the same order, so that the same
float32 and the same buckets come out.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfdlrm.data.number_features import NumberFeature
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.transforms import (
    LARGEST,
    LOWEST_BUCKET,
    SMALLEST_DOUBLE,
    IsMissing,
    Log1p,
    LogSquared,
    MinMax,
    NoTransform,
    Quantiles,
    Standardize,
    Transform,
)

_SMALLEST = float(np.finfo(np.float32).tiny)


class NumberTransforms:
    """The features that are read from columns of numbers.

    Args:
        schema: The schema, some of whose features have an entry in `transforms`.
    """

    def __init__(self, schema: FeatureSchema) -> None:
        self._columns = schema.number_columns
        default = {
            name: NumberFeature(
                name, NoTransform() if name in schema.untransformed else Log1p()
            )
            for name in schema.dense_features
        }
        features = {**default, **schema.transforms}
        self._dense = [features[name] for name in schema.dense_features]
        self._buckets = [
            features[name] for name in schema.single_hot if name in schema.transforms
        ]

    def dense(self, numbers: tf.Tensor) -> tf.Tensor:
        """Return the dense features, float32 `(batch, features)`, finite.

        Args:
            numbers: Float64 `(batch, columns)`; NaN where missing.
        """
        if not self._dense:
            return tf.zeros([tf.shape(numbers)[0], 0])
        values, is_missing = self._values(numbers, self._dense)
        is_flag = [isinstance(feature.transform, IsMissing) for feature in self._dense]
        transformed = _by_transform(self._dense, values, is_missing, _numbers)
        transformed = tf.where(
            is_missing & ~np.array(is_flag), tf.zeros_like(values), transformed
        )
        transformed = _without_tiny(transformed, _SMALLEST)
        return tf.cast(tf.clip_by_value(transformed, -LARGEST, LARGEST), tf.float32)

    def buckets(self, numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return buckets, int64 `(batch, features)`, and which numbers are missing."""
        values, is_missing = self._values(numbers, self._buckets)
        buckets = _by_transform(self._buckets, values, is_missing, _bucket_numbers)
        return buckets, is_missing

    def as_doubles(self, floats: tf.Tensor) -> tf.Tensor:
        """Return float32 numbers `(batch, columns)` as float64.

        A boundary of quantiles is often a value of the log, such as 19.9. A client's
        float32 of this value is to be in the same bucket.
        """
        numbers = tf.cast(floats, tf.float64)
        columns = tf.unstack(numbers, axis=1)
        for position, name in enumerate(self._columns):
            boundaries = self._boundaries(name)
            if len(boundaries):
                columns[position] = _snapped(
                    floats[:, position], columns[position], boundaries
                )
        return tf.stack(columns, axis=1) if columns else numbers

    def _boundaries(self, column: str) -> np.ndarray:
        """Return the boundaries of all quantiles of a column, float64, ascending."""
        boundaries = {
            float(knot)
            for feature in (*self._dense, *self._buckets)
            if feature.column == column and isinstance(feature.transform, Quantiles)
            for knot in feature.transform.knots
        }
        return np.array(sorted(boundaries))

    def _values(
        self, numbers: tf.Tensor, features: Sequence[NumberFeature]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the numbers of features within limits, and which are missing."""
        positions = [self._columns.index(feature.column) for feature in features]
        numbers = tf.gather(numbers, positions, axis=1)
        is_missing = tf.math.is_nan(numbers)
        # Integers cannot be made from NaN.
        values = _without_tiny(
            tf.where(is_missing, tf.zeros_like(numbers), numbers), SMALLEST_DOUBLE
        )
        limits = [feature.clip or (None, None) for feature in features]
        if any(low is not None for low, _ in limits):
            lows = [-np.inf if low is None else low for low, _ in limits]
            values = tf.maximum(values, np.array(lows))
        if any(high is not None for _, high in limits):
            highs = [np.inf if high is None else high for _, high in limits]
            values = tf.minimum(values, np.array(highs))
        return values, is_missing


Apply = Callable[[Sequence[Transform], tf.Tensor, tf.Tensor], tf.Tensor]


def _by_transform(
    features: Sequence[NumberFeature],
    values: tf.Tensor,
    is_missing: tf.Tensor,
    apply: Apply,
) -> tf.Tensor:
    """Apply transforms to columns `(batch, features)`, all of one sort at once."""
    groups: dict[type[Transform], list[int]] = {}
    for position, feature in enumerate(features):
        groups.setdefault(type(feature.transform), []).append(position)
    parts = []
    for positions in groups.values():
        transforms = [features[position].transform for position in positions]
        columns = (tf.gather(part, positions, axis=1) for part in (values, is_missing))
        parts.append(apply(transforms, *columns))
    order = [position for positions in groups.values() for position in positions]
    return tf.gather(tf.concat(parts, axis=1), np.argsort(order), axis=1)


def _numbers(
    transforms: Sequence[Transform], values: tf.Tensor, is_missing: tf.Tensor
) -> tf.Tensor:
    """Return `Transform.numbers` of columns `(batch, transforms)` of one sort."""
    match transforms[0]:
        case Log1p():
            return tf.math.log1p(tf.maximum(values, 0))
        case NoTransform():
            return values
        case IsMissing():
            return tf.cast(is_missing, tf.float64)
        case Standardize():
            means, deviations = zip(*map(_mean_and_deviation, transforms), strict=True)
            return _divide(values - np.array(means), deviations)
        case MinMax():
            lows, widths = zip(*map(_low_and_width, transforms), strict=True)
            return _divide(values - np.array(lows), widths)
        case Quantiles():
            return _column_by_column(transforms, values, _ranks)
        case LogSquared() as transform:
            squares = tf.cast(_num_cuts(transform.cuts, values), tf.float64)
            return tf.where(values > 2, squares, _truncate(values))
    raise TypeError(f"no such transform: {transforms[0]}")


def _bucket_numbers(
    transforms: Sequence[Transform], values: tf.Tensor, is_missing: tf.Tensor
) -> tf.Tensor:
    """Return `Transform.buckets` of columns `(batch, transforms)` of one sort."""
    del is_missing
    match transforms[0]:
        case Quantiles():
            return _column_by_column(transforms, values, _parts)
        case LogSquared() as transform:
            squares = _num_cuts(transform.cuts, values) + 2
            low = tf.clip_by_value(values, LOWEST_BUCKET, 2)
            return tf.where(values > 2, squares, tf.cast(_truncate(low), tf.int64))
    raise TypeError(f"no buckets: {transforms[0]}")


def _mean_and_deviation(transform: Transform) -> tuple[float, float]:
    assert isinstance(transform, Standardize)
    assert transform.mean is not None and transform.deviation is not None
    return transform.mean, transform.deviation


def _low_and_width(transform: Transform) -> tuple[float, float]:
    assert isinstance(transform, MinMax) and transform.low is not None
    return transform.low, transform.width


def _divide(values: tf.Tensor, divisors: Sequence[float]) -> tf.Tensor:
    # TensorFlow turns a division by a constant into a product, which rounds otherwise;
    # not so this one.
    return tf.math.divide_no_nan(values, np.array(divisors))


def _column_by_column(
    transforms: Sequence[Transform],
    values: tf.Tensor,
    apply: Callable[[Quantiles, tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    columns = []
    for transform, column in zip(transforms, tf.unstack(values, axis=1), strict=True):
        assert isinstance(transform, Quantiles)
        columns.append(apply(transform, column))
    return tf.stack(columns, axis=1)


def _parts(transform: Quantiles, values: tf.Tensor) -> tf.Tensor:
    return _num_cuts(transform.cuts, values)


def _ranks(transform: Quantiles, values: tf.Tensor) -> tf.Tensor:
    """Return `Quantiles.numbers`."""
    knots, (below, at, above) = transform.knots, transform.ranks
    zeros = tf.zeros_like(values)
    if len(knots) == 1:
        return tf.where(values > knots[0], zeros + above[0], zeros)
    left = tf.clip_by_value(_num_cuts(knots, values) - 1, 0, len(knots) - 2)
    start, end = tf.gather(knots, left), tf.gather(knots, left + 1)
    lower, upper = tf.gather(above, left), tf.gather(below, left + 1)
    share = (values - start) / (end - start)
    between = lower + share * (upper - lower)
    ranks = tf.where(values == start, tf.gather(at, left), between)
    ranks = tf.where(values <= knots[0], zeros, ranks)
    return tf.where(values >= knots[-1], tf.ones_like(values), ranks)


def _snapped(
    floats: tf.Tensor, numbers: tf.Tensor, boundaries: np.ndarray
) -> tf.Tensor:
    """Return numbers, with a boundary in the place of its float32."""
    rounded = boundaries.astype(np.float32)
    nearest = tf.searchsorted(rounded, floats, side="left")
    nearest = tf.minimum(nearest, len(boundaries) - 1)
    is_boundary = tf.gather(rounded, nearest) == floats
    return tf.where(is_boundary, tf.gather(boundaries, nearest), numbers)


def _num_cuts(cuts: np.ndarray, values: tf.Tensor) -> tf.Tensor:
    """Return how many of ascending numbers each value has reached, as int64."""
    numbers = tf.searchsorted(
        cuts, tf.reshape(values, [-1]), side="right", out_type=tf.int64
    )
    return tf.reshape(numbers, tf.shape(values))


def _truncate(values: tf.Tensor) -> tf.Tensor:
    return tf.where(values < 0, tf.math.ceil(values), tf.floor(values))


def _without_tiny(values: tf.Tensor, smallest: float) -> tf.Tensor:
    return tf.where(tf.abs(values) < smallest, tf.zeros_like(values), values)
