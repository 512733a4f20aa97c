"""Features that are read from a column of numbers, as NumPy computes them.

A data set has features; its raw rows have columns. Most features are columns: a dense
feature without an entry in `FeatureSchema.transforms` is the number column of its own
name, transformed as `dense_transform` and `untransformed` say, and a categorical
feature without one is the column of values of its own name. All other features are
entries there, each a `NumberFeature`, which names the number column that it reads:

- a dense feature with another transform, with limits, or with another name than its
  column. Several features may read one column;
- `NAME_missing`, a dense feature right after NAME, which is 1 where the column that
  NAME reads has no value and 0 elsewhere;
- a single-hot categorical feature of buckets: the number becomes the number of its
  bucket, which is a value with an id like any other, in a vocabulary or by its hash. As
  such a value it is decimal text (`bucket_text`), or in Criteo's format its lowest 32
  bits (`bucket_hash`). A missing number is a missing value.

So raw rows hold `FeatureSchema.number_columns` and `text_columns` (and the multi-hot
columns), each once; missing values are spelled, and requests are named, by columns.
Rows of a data set hold the transformed features alone. A missing number is 0 in every
dense feature, after the transform. The numbers of a transform are those of the training
rows of the first data set of a chain.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from tfdlrm.data.number_statistics import NumberStatistics
from tfdlrm.data.transforms import (
    LARGEST,
    SMALLEST_DOUBLE,
    IsMissing,
    Transform,
    transform_from_json,
)

Buckets = TypeVar("Buckets", int, np.ndarray)

_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class NumberFeature:
    """A feature that is read from a column of numbers.

    Args:
        column: The column of the raw rows.
        transform: The transform.
        clip: The lowest and the highest number, either of which may be `None`: lower
            and higher ones are replaced by them before the transform, and before it is
            fitted.

    Example:

    >>> from tfdlrm.data.transforms import Standardize
    >>> feature = NumberFeature("price", Standardize(2.0, 0.5), clip=(0.0, 4.0))
    >>> feature.dense(np.array([1.0, 99.0, np.nan]))
    array([-2.,  4.,  0.], dtype=float32)
    """

    column: str
    transform: Transform
    clip: tuple[float | None, float | None] | None = None

    @property
    def is_fitted(self) -> bool:
        """Whether the transform has all numbers that it needs."""
        return self.transform.is_fitted

    def clipped(self, values: np.ndarray) -> np.ndarray:
        """Return float64 numbers within the limits; NaN stays.

        Numbers so small that machines differ in them are 0.
        """
        values = np.where(np.abs(values) < SMALLEST_DOUBLE, 0.0, values)
        low, high = self.clip or (None, None)
        if low is not None:
            values = np.maximum(values, low)
        return values if high is None else np.minimum(values, high)

    def dense(self, values: np.ndarray) -> np.ndarray:
        """Return the dense feature, float32, finite.

        Args:
            values: Numbers of the column, float64; NaN where missing.
        """
        with np.errstate(over="ignore"):
            numbers = self.transform.numbers(self.clipped(values))
        if not isinstance(self.transform, IsMissing):
            numbers = np.where(np.isnan(values), 0.0, numbers)
        numbers = np.where(np.abs(numbers) < _SMALLEST, 0.0, numbers)
        return np.clip(numbers, -LARGEST, LARGEST).astype(np.float32)

    def buckets(self, values: np.ndarray) -> np.ndarray:
        """Return the number of each value's bucket, int64; any number for NaN."""
        return self.transform.buckets(self.clipped(values))

    def fit(self, statistics: NumberStatistics) -> "NumberFeature":
        """Return the feature fitted to clipped numbers of training rows."""
        return replace(self, transform=self.transform.fit(statistics))

    def unfitted(self) -> "NumberFeature":
        """Return the feature as a description of columns has it."""
        return replace(self, transform=self.transform.unfitted())

    def to_json(self) -> dict[str, Any]:
        """Return the same in types of JSON, which `from_json` reads."""
        fields: dict[str, Any] = {
            "column": self.column,
            "transform": self.transform.to_json(),
        }
        if self.clip is not None:
            fields["clip"] = list(self.clip)
        return fields

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "NumberFeature":
        """Read what `to_json` returned.

        Raises:
            KeyError, TypeError, ValueError: If `fields` are something else.
        """
        clip = fields.get("clip")
        if clip is not None:
            low, high = clip
            clip = (low, high)
        transform = transform_from_json(fields["transform"])
        return cls(fields["column"], transform, clip)


def bucket_text(bucket: int) -> str:
    """Return a bucket as the value that has an id, where values are text."""
    return str(bucket)


def bucket_hash(bucket: Buckets) -> Buckets:
    """Return a bucket as the value that has an id, in Criteo's format.

    Example:

    >>> bucket_hash(7), f"{bucket_hash(-1):08x}"
    (7, 'ffffffff')
    """
    return bucket & (2**32 - 1)
