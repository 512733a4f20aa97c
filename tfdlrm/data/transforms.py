"""Functions of a number, as NumPy applies them: the transforms of features.

`number_features` says how raw columns and features belong together.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, Context, Decimal
from functools import cache, cached_property
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from tfdlrm.data.number_statistics import NumberStatistics

LOWEST_BUCKET = -(2**31)
"""Number of the bucket of all numbers that are as low as this or lower."""

LARGEST = float(np.finfo(np.float32).max)
SMALLEST_DOUBLE = 2.0**-960
"""Smaller numbers are taken for 0, since machines differ in them and in differences."""


class Transform:
    """A function of a number, with the numbers that it takes from training rows.

    Attributes:
        name: Its name in a description of columns.
        counts_values: Whether it is fitted to the counts of values.
    """

    name: ClassVar[str]
    counts_values: ClassVar[bool] = False

    @property
    def is_fitted(self) -> bool:
        """Whether it has all numbers that it needs."""
        return True

    def fit(self, statistics: NumberStatistics) -> "Transform":
        """Return the transform with the numbers of training rows."""
        del statistics
        return self

    def unfitted(self) -> "Transform":
        """Return the transform without the numbers of training rows."""
        return self

    def numbers(self, values: np.ndarray) -> np.ndarray:
        """Return values as a dense feature has them, float64; any number for NaN."""
        raise NotImplementedError

    def buckets(self, values: np.ndarray) -> np.ndarray:
        """Return the number of each value's bucket, int64; any number for NaN."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Return the same in types of JSON, which `transform_from_json` reads."""
        numbers: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        known = {name: value for name, value in numbers.items() if value is not None}
        return {"name": self.name, **known}


@dataclass(frozen=True)
class Log1p(Transform):
    """`log(max(x, 0) + 1)`."""

    name = "log"

    def numbers(self, values: np.ndarray) -> np.ndarray:
        return np.log1p(np.maximum(values, 0))


@dataclass(frozen=True)
class NoTransform(Transform):
    """The number as it is."""

    name = "none"

    def numbers(self, values: np.ndarray) -> np.ndarray:
        return values


@dataclass(frozen=True)
class IsMissing(Transform):
    """1 for a missing number, 0 for any other."""

    name = "is_missing"

    def numbers(self, values: np.ndarray) -> np.ndarray:
        return np.isnan(values).astype(np.float64)


@dataclass(frozen=True)
class Standardize(Transform):
    """`(x - mean) / deviation`, as scikit-learn's `StandardScaler`.

    Args:
        mean: Mean of the training rows that have a number; 0 if none has.
        deviation: Their standard deviation, as of a whole population; 1 instead of 0.

    Example:

    >>> Standardize(mean=2.0, deviation=0.5).numbers(np.array([1.0, 2.0, 4.0]))
    array([-2.,  0.,  4.])
    """

    name = "standardize"
    mean: float | None = None
    deviation: float | None = None

    @property
    def is_fitted(self) -> bool:
        return self.mean is not None

    def fit(self, statistics: NumberStatistics) -> "Standardize":
        return Standardize(statistics.mean, statistics.deviation or 1.0)

    def unfitted(self) -> "Standardize":
        return Standardize()

    def numbers(self, values: np.ndarray) -> np.ndarray:
        assert self.mean is not None and self.deviation is not None
        return (values - self.mean) / self.deviation


@dataclass(frozen=True)
class MinMax(Transform):
    """`(x - low) / (high - low)`, as scikit-learn's `MinMaxScaler`.

    Numbers beyond those of the training rows are below 0 or above 1.

    Args:
        low: Lowest number of the training rows; 0 if none has a number.
        high: Highest number of the training rows. Where it is `low`, the feature is
            `x - low`.
    """

    name = "minmax"
    low: float | None = None
    high: float | None = None

    @property
    def is_fitted(self) -> bool:
        return self.low is not None

    def fit(self, statistics: NumberStatistics) -> "MinMax":
        return MinMax(statistics.low, statistics.high)

    def unfitted(self) -> "MinMax":
        return MinMax()

    @property
    def width(self) -> float:
        """The number to divide by."""
        assert self.low is not None and self.high is not None
        return (self.high - self.low) or 1.0

    def numbers(self, values: np.ndarray) -> np.ndarray:
        assert self.low is not None
        return (values - self.low) / self.width


@dataclass(frozen=True)
class Quantiles(Transform):
    """The rank of a number among the training rows, from 0 to 1, or its bucket.

    Args:
        quantiles: Number of parts of about as many rows each.
        boundaries: Lowest number, the numbers between the parts, and the highest
            number, where those in between are interpolated as `numpy.quantile` does;
            empty if no training row has a number, `None` before fitting.

    Example:

    >>> transform = Quantiles(2, (0.0, 10.0, 30.0))
    >>> transform.numbers(np.array([-1.0, 5.0, 10.0, 20.0, 99.0]))
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])
    >>> transform.buckets(np.array([-1.0, 5.0, 10.0, 20.0, 99.0]))
    array([0, 0, 1, 1, 1])
    """

    name = "quantiles"
    counts_values = True
    quantiles: int
    boundaries: tuple[float, ...] | None = None

    @property
    def is_fitted(self) -> bool:
        return self.boundaries is not None

    def fit(self, statistics: NumberStatistics) -> "Quantiles":
        return Quantiles(self.quantiles, statistics.boundaries(self.quantiles))

    def unfitted(self) -> "Quantiles":
        return Quantiles(self.quantiles)

    @cached_property
    def knots(self) -> np.ndarray:
        """The distinct boundaries, ascending, float64; one at least."""
        return np.array(sorted(set(self.boundaries or (0.0,))), np.float64)

    @cached_property
    def ranks(self) -> np.ndarray:
        """Three ranks for each knot, `(3, knots)`: just below it, at it, just above it.

        They differ where a value fills whole parts: such a value has the rank of their
        middle, as in scikit-learn's `QuantileTransformer`; the lowest value has rank 0
        and the highest rank 1.
        """
        if not self.boundaries:
            return np.zeros((3, 1))
        boundaries = np.array(self.boundaries, np.float64)
        below = np.searchsorted(boundaries, self.knots, "left")
        above = np.searchsorted(boundaries, self.knots, "right") - 1
        ranks = np.stack([below, (below + above) / 2, above]) / self.quantiles
        ranks[1, -1], ranks[1, 0] = 1.0, 0.0
        return ranks

    def numbers(self, values: np.ndarray) -> np.ndarray:
        knots, (below, at, above) = self.knots, self.ranks
        if len(knots) == 1:  # a constant: its own rank is 0
            return np.where(values > knots[0], above[0], 0.0)
        left = np.searchsorted(knots, values, "right") - 1
        left = np.clip(left, 0, len(knots) - 2)
        start, end = knots[left], knots[left + 1]
        share = (values - start) / (end - start)
        between = above[left] + share * (below[left + 1] - above[left])
        ranks = np.where(values == start, at[left], between)
        ranks = np.where(values <= knots[0], 0.0, ranks)
        return np.where(values >= knots[-1], 1.0, ranks)

    @cached_property
    def cuts(self) -> np.ndarray:
        """The lowest number of each bucket but the first, ascending, float64.

        They are the boundaries between the lowest and the highest number. A value that
        fills a whole part, so that it is a boundary twice, has a bucket of its own.
        """
        boundaries = self.boundaries or (0.0,)
        low, high = boundaries[0], boundaries[-1]
        repeated = {first for first, second in pairwise(boundaries) if first == second}
        cuts = {*boundaries[1:-1], *map(_just_above, repeated)}
        return np.array(sorted(cut for cut in cuts if low < cut <= high), np.float64)

    def buckets(self, values: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.cuts, values, "right").astype(np.int64)


@dataclass(frozen=True)
class LogSquared(Transform):
    """`floor(log(x)**2)` of a number above 2; any other number without its fraction.

    So the winners of Criteo's contest and FuxiCTR do it, with the natural logarithm.
    As a bucket, a number above 2 has that plus 2, so that the bucket of 2 is not that
    of 5 too, and buckets are in the order of the numbers.

    Example:

    >>> values = np.array([-3.5, 0, 2, 3, 5, 100])
    >>> LogSquared().numbers(values)
    array([-3.,  0.,  2.,  1.,  2., 21.])
    >>> LogSquared().buckets(values)
    array([-3,  0,  2,  3,  4, 23])
    """

    name = "log2_squared"

    @property
    def cuts(self) -> np.ndarray:
        """The lowest number whose squared logarithm is 1, 2, …, float64."""
        return _cuts_of_squared_logarithms()

    def numbers(self, values: np.ndarray) -> np.ndarray:
        squares = np.searchsorted(self.cuts, values, "right")
        return np.where(values > 2, squares, np.trunc(values)) + 0.0  # not -0

    def buckets(self, values: np.ndarray) -> np.ndarray:
        squares = np.searchsorted(self.cuts, values, "right") + 2
        low = np.clip(np.nan_to_num(values), LOWEST_BUCKET, 2)
        return np.where(values > 2, squares, np.trunc(low)).astype(np.int64)


TRANSFORMS: dict[str, type[Transform]] = {
    transform.name: transform
    for transform in (
        *(Log1p, NoTransform, IsMissing, Standardize, MinMax, Quantiles, LogSquared),
    )
}
"""The transforms by their names."""


def transform_from_json(fields: Mapping[str, Any]) -> Transform:
    """Read what `Transform.to_json` returned.

    Raises:
        KeyError, TypeError: If `fields` are something else.
    """
    arguments = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in fields.items()
        if name != "name"
    }
    return TRANSFORMS[fields["name"]](**arguments)


def _just_above(value: float) -> float:
    """Return the next float64, of those that are not taken for 0."""
    above = float(np.nextafter(value, np.inf))
    if abs(above) < SMALLEST_DOUBLE:
        return 0.0 if value < 0 else SMALLEST_DOUBLE
    return above


@cache
def _cuts_of_squared_logarithms() -> np.ndarray:
    # By decimal arithmetic, which is the same on every machine.
    context = Context(prec=40, rounding=ROUND_CEILING)
    largest = Decimal(LARGEST)
    cuts: list[float] = []
    while True:
        root = context.sqrt(Decimal(len(cuts) + 1))
        exact = context.exp(root)
        if exact > largest:
            return np.array(cuts, np.float64)
        cut = float(exact)
        cuts.append(cut if Decimal(cut) >= exact else float(np.nextafter(cut, np.inf)))
