"""Statistics of the numbers of a column that do not depend on the order of rows.

Sums are exact, and counts are of whole numbers, so that any machine, any number of
threads and any order of the rows give the same bits.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import reduce
from operator import add

import numpy as np

MAX_VALUES = 2**20
"""Distinct values that are counted exactly; of more, the neighbours are joined."""

_LIMB_BITS = 18
_MANTISSA_BITS = 53
_CHUNK_ROWS = 2**17
"""Rows whose products of limbs have a sum that a float64 holds exactly."""


@dataclass(frozen=True)
class ValueCounts:
    """How often values occur, which are joined with their neighbours if there are many.

    Values are joined by leaving out the last bits of their float64, as few as are
    enough for `MAX_VALUES` distinct ones. So two counts that are added up are the count
    of all rows together.

    Args:
        keys: The values as integers in the same order, without the bits left out,
            int64, ascending.
        counts: Number of rows of each, int64.
        bits: Number of bits left out.
    """

    keys: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    bits: int = 0

    @classmethod
    def of(cls, values: np.ndarray, counts: np.ndarray) -> "ValueCounts":
        """Count finite values.

        Args:
            values: Distinct float64 values.
            counts: Number of rows of each.
        """
        return _joined(as_keys(values), counts, 0)

    def __add__(self, other: "ValueCounts") -> "ValueCounts":
        bits = max(self.bits, other.bits)
        keys = [part.keys >> (bits - part.bits) for part in (self, other)]
        counts = np.concatenate([self.counts, other.counts])
        return _joined(np.concatenate(keys), counts, bits)

    def values(self) -> np.ndarray:
        """Return the values, ascending: each exactly, or the middle of those joined."""
        keys = self.keys << self.bits
        if self.bits:
            keys |= np.int64(1) << np.int64(self.bits - 1)
        return from_keys(keys)


@dataclass(frozen=True)
class NumberStatistics:
    """Statistics of the numbers of a column.

    Args:
        rows: Number of rows.
        missing: Number of rows without a number.
        lowest: The lowest number; `None` if no row has a number.
        highest: The highest number.
        total: Sum of the numbers, exactly.
        total_of_squares: Sum of their squares, exactly.
        value_counts: The counts of values; `None` if `boundaries` is not called.

    Example:

    >>> statistics = NumberStatistics.of(np.array([1.0, 5.0, np.nan]))
    >>> statistics.mean, statistics.deviation, statistics.boundaries(2)
    (3.0, 2.0, (1.0, 3.0, 5.0))
    """

    rows: int = 0
    missing: int = 0
    lowest: float | None = None
    highest: float | None = None
    total: Fraction = Fraction(0)
    total_of_squares: Fraction = Fraction(0)
    value_counts: ValueCounts | None = None

    @classmethod
    def of(cls, values: np.ndarray, counts_values: bool = True) -> "NumberStatistics":
        """Return the statistics of numbers.

        Args:
            values: The numbers, float64, finite; NaN where missing.
            counts_values: Whether `boundaries` is called.
        """
        starts = range(0, len(values), _CHUNK_ROWS)
        return cls.sum(
            cls._of_chunk(values[start : start + _CHUNK_ROWS], counts_values)
            for start in starts
        )

    @classmethod
    def _of_chunk(cls, values: np.ndarray, counts_values: bool) -> "NumberStatistics":
        numbers = values[~np.isnan(values)]
        missing = len(values) - len(numbers)
        if not len(numbers):
            return cls(len(values), missing)
        distinct, counts = np.unique(numbers + 0.0, return_counts=True)
        total, total_of_squares = _exact_sums(distinct, counts)
        return cls(
            len(values),
            missing,
            float(distinct[0]),
            float(distinct[-1]),
            total,
            total_of_squares,
            ValueCounts.of(distinct, counts) if counts_values else None,
        )

    def __add__(self, other: "NumberStatistics") -> "NumberStatistics":
        """Return the statistics of the rows of both."""
        lowest = [part.lowest for part in (self, other) if part.lowest is not None]
        highest = [part.highest for part in (self, other) if part.highest is not None]
        counts = [
            part.value_counts for part in (self, other) if part.value_counts is not None
        ]
        return NumberStatistics(
            self.rows + other.rows,
            self.missing + other.missing,
            min(lowest, default=None),
            max(highest, default=None),
            self.total + other.total,
            self.total_of_squares + other.total_of_squares,
            reduce(add, counts) if counts else None,
        )

    @classmethod
    def sum(cls, parts: Iterable["NumberStatistics"]) -> "NumberStatistics":
        """Return the statistics of the rows of all parts."""
        total = cls()
        for part in parts:
            total += part
        return total

    @property
    def numbers(self) -> int:
        """Number of rows that have a number."""
        return self.rows - self.missing

    @property
    def low(self) -> float:
        """The lowest number; 0 if there is none."""
        return 0.0 if self.lowest is None else self.lowest

    @property
    def high(self) -> float:
        """The highest number; 0 if there is none."""
        return 0.0 if self.highest is None else self.highest

    @property
    def mean(self) -> float:
        """The mean, rounded once; 0 if there is no number."""
        return float(self.total / self.numbers) if self.numbers else 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation of a whole population; 0 if there is no number."""
        if not self.numbers:
            return 0.0
        variance = (
            self.numbers * self.total_of_squares - self.total**2
        ) / self.numbers**2
        return math.sqrt(float(variance))

    def boundaries(self, quantiles: int) -> tuple[float, ...]:
        """Return the numbers that divide the rows into equal parts, and both ends.

        Numbers between two rows are interpolated, as `numpy.quantile` does.

        Args:
            quantiles: Number of parts.

        Returns:
            `quantiles + 1` numbers, ascending; none if no row has a number.
        """
        if not self.numbers:
            return ()
        assert self.value_counts is not None
        values, ends = self.value_counts.values(), self.value_counts.counts.cumsum()
        boundaries = []
        for part in range(1, quantiles):
            rank, remainder = divmod(part * (self.numbers - 1), quantiles)
            first, second = np.searchsorted(ends, [rank, rank + 1], "right")
            low = float(values[first])
            if remainder:  # then there is a next row
                low += (float(values[second]) - low) * (remainder / quantiles)
            boundaries.append(min(max(low, self.low), self.high))
        return (self.low, *boundaries, self.high)


def _joined(keys: np.ndarray, counts: np.ndarray, bits: int) -> ValueCounts:
    """Add up the counts of equal keys, with fewer bits if there are too many keys."""
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    while True:
        is_first = np.ones(len(keys), bool)
        is_first[1:] = keys[1:] != keys[:-1]
        starts = np.flatnonzero(is_first)
        keys = keys[starts]
        counts = np.add.reduceat(counts, starts) if len(starts) else counts
        if len(keys) <= MAX_VALUES:
            return ValueCounts(keys, counts.astype(np.int64), bits)
        keys, bits = keys >> 1, bits + 1


def as_keys(values: np.ndarray) -> np.ndarray:
    """Return finite float64 values as integers that are in the same order."""
    bits = np.ascontiguousarray(values, np.float64).view(np.int64)
    return np.where(bits < 0, np.int64(-(2**63)) - bits - 1, bits)


def from_keys(keys: np.ndarray) -> np.ndarray:
    """Return the values of `as_keys`."""
    bits = np.where(keys < 0, np.int64(-(2**63)) - keys - 1, keys)
    return bits.view(np.float64)


def _exact_sums(values: np.ndarray, counts: np.ndarray) -> tuple[Fraction, Fraction]:
    """Return the sum and the sum of squares of values, each `counts` times."""
    fractions, exponents = np.frexp(values)
    mantissas = np.ldexp(fractions, _MANTISSA_BITS).astype(np.int64)
    least = int(exponents.min())
    groups = exponents - least
    limbs = [
        mantissas >> (2 * _LIMB_BITS),
        (mantissas >> _LIMB_BITS) & (2**_LIMB_BITS - 1),
        mantissas & (2**_LIMB_BITS - 1),
    ]
    high, middle, low = (limb.astype(np.float64) for limb in limbs)

    def add_up(terms: list[tuple[int, np.ndarray]], step: int) -> int:
        """Return the sum of terms times powers of 2, in units of the least exponent."""
        total = 0
        for shift, term in terms:
            sums = np.bincount(groups, term * counts)
            for group in np.flatnonzero(sums):
                total += int(sums[group]) << (shift + step * int(group))
        return total

    total = add_up([(2 * _LIMB_BITS, high), (_LIMB_BITS, middle), (0, low)], 1)
    squares = add_up(
        [
            (4 * _LIMB_BITS, high * high),
            (3 * _LIMB_BITS + 1, high * middle),
            (2 * _LIMB_BITS + 1, high * low),
            (2 * _LIMB_BITS, middle * middle),
            (_LIMB_BITS + 1, middle * low),
            (0, low * low),
        ],
        2,
    )
    unit = Fraction(2) ** (least - _MANTISSA_BITS)
    return total * unit, squares * unit**2
