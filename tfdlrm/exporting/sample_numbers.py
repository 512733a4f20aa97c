"""Numbers of raw rows that have given features: the inverse of transforms.

Several features may be read from one column. For each of them the numbers that it may
come from are an interval, since transforms are monotone, and a number that lies in all
intervals is looked for.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tfdlrm.data.number_features import NumberFeature
from tfdlrm.data.number_statistics import as_keys, from_keys
from tfdlrm.data.transforms import LARGEST, LogSquared

_MOST_DIGITS = 17
"""Significant digits that distinguish all float64."""

_EXACT = 2.0**53


@dataclass(frozen=True)
class ColumnFeatures:
    """The features of some rows that are read from one column of numbers.

    Args:
        dense: Each dense feature with its values, float32 `(rows,)`.
        buckets: Each feature of buckets with their numbers, int64 `(rows,)`, and
            whether each is missing.
        is_integer: Whether the column holds whole numbers of 64 bits alone.
    """

    dense: Sequence[tuple[NumberFeature, np.ndarray]]
    buckets: Sequence[tuple[NumberFeature, np.ndarray, np.ndarray]]
    is_integer: bool

    def texts(self) -> list[str | None]:
        """Return a short number of each row, blank where it may be missing.

        `None` where no number has all features.
        """
        are_missing = self._may_be_missing()
        texts: list[str | None] = [None] * len(are_missing)
        for low, high in self._branches():
            lows, highs = self._intervals(low, high)
            numbers = np.array(
                [
                    _shortest(first, last, self.is_integer) if first <= last else np.nan
                    for first, last in zip(lows, highs, strict=True)
                ]
            )
            fits = self._fits(numbers)
            for row in np.flatnonzero(fits):
                texts[row] = texts[row] or _text(numbers[row])
        for row in np.flatnonzero(are_missing):
            texts[row] = ""
        return texts

    def _may_be_missing(self) -> np.ndarray:
        missing = np.array([np.nan])
        parts = [values == feature.dense(missing) for feature, values in self.dense]
        parts += [are_missing for _, _, are_missing in self.buckets]
        return np.all(parts, axis=0)

    def _fits(self, numbers: np.ndarray) -> np.ndarray:
        """Return which numbers have the features of their rows."""
        parts = [~np.isnan(numbers)]
        parts += [feature.dense(numbers) == values for feature, values in self.dense]
        for feature, buckets, are_missing in self.buckets:
            parts.append((feature.buckets(numbers) == buckets) & ~are_missing)
        return np.all(parts, axis=0)

    def _branches(self) -> list[tuple[float, float]]:
        """Return ranges of numbers in which all transforms are monotone."""
        transforms = [feature.transform for feature, _ in self.dense]
        if any(isinstance(transform, LogSquared) for transform in transforms):
            return [(float(np.nextafter(2, 3)), LARGEST), (-LARGEST, 2.0)]
        return [(-LARGEST, LARGEST)]

    def _intervals(self, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the first and the last number of each row, in a range."""
        compared = [
            *((feature.dense, values) for feature, values in self.dense),
            *((feature.buckets, buckets) for feature, buckets, _ in self.buckets),
        ]
        intervals = [_interval(of, values, low, high) for of, values in compared]
        lows, highs = zip(*intervals, strict=True)
        return from_keys(np.max(lows, axis=0)), from_keys(np.min(highs, axis=0))


def _interval(
    feature_of: Callable[[np.ndarray], np.ndarray],
    features: np.ndarray,
    low: float,
    high: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the keys of the first and last number with each feature, in a range."""
    rows = len(features)
    first = _first(lambda numbers: feature_of(numbers) >= features, low, high, rows)
    after = _first(lambda numbers: feature_of(numbers) > features, low, high, rows)
    return first, after - 1


def _first(
    is_reached: Callable[[np.ndarray], np.ndarray], low: float, high: float, rows: int
) -> np.ndarray:
    """Return the key of the first number of a range for which something holds.

    If it holds for none of them, the key after that of `high`.
    """
    first_key, last_key = as_keys(np.array([low, high]))
    start, stop = np.full(rows, first_key), np.full(rows, last_key + 1)
    while (start < stop).any():
        middle = (start >> 1) + (stop >> 1) + (start & stop & 1)
        holds = is_reached(from_keys(middle)) | (start >= stop)
        start, stop = np.where(holds, start, middle + 1), np.where(holds, middle, stop)
    return start


def _shortest(low: float, high: float, is_integer: bool) -> float:
    """Return the number from `low` to `high` with the fewest digits, about.

    Example:

    >>> _shortest(19.893, 19.9071, False), _shortest(0.2, 7.5, True)
    (19.9, 1.0)
    >>> _shortest(2.0000000000000004, 2.718, False)
    2.1
    """
    if low <= 0 <= high:
        return 0.0
    nearest = low if low > 0 else high
    if is_integer:
        nearest = float(np.ceil(nearest) if nearest > 0 else np.floor(nearest))
    magnitude = math.floor(math.log10(abs(nearest)))
    for digits in range(1, _MOST_DIGITS):
        step = math.copysign(10.0 ** (magnitude - digits + 1), nearest)
        for candidate in (nearest, nearest + step):
            number = float(f"{candidate:.{digits}g}")
            is_whole = number.is_integer() or not is_integer
            if low <= number <= high and is_whole:
                return number
    return nearest


def _text(number: float) -> str:
    is_short = number.is_integer() and abs(number) <= _EXACT
    return str(int(number)) if is_short else repr(float(number))
