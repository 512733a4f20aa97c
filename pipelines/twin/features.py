"""The features of the Criteo twin: counts, power laws of values, empty fields."""

from dataclasses import dataclass

import numpy as np

NUM_DENSE = 13

# Distinct values of Criteo Kaggle's C1..C26, as the reference implementation counts
# them, missing included.
KAGGLE_VOCABULARY_SIZES = (
    1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194,
    27, 14992, 5461306, 10, 5652, 2173, 4, 7046547, 18, 15, 286181, 105, 142572,
)  # fmt: skip

_MISSING_SHARES = (0.0, 0.03, 0.2, 0.45)
"""Some of Criteo's columns are never empty, others are in half of the rows."""


@dataclass(frozen=True)
class Features:
    """Rows without labels, as arrays with one line a feature.

    Args:
        counts: int64 `(13, rows)`, the continuous features.
        ranks: int64 `(26, rows)`, values of categorical features as frequency ranks.
        is_missing: bool `(39, rows)`, which fields are empty, dense ones first.
    """

    counts: np.ndarray
    ranks: np.ndarray
    is_missing: np.ndarray

    def rows(self, start: int, stop: int) -> "Features":
        """Return the rows from `start` up to `stop`."""
        return Features(
            self.counts[:, start:stop],
            self.ranks[:, start:stop],
            self.is_missing[:, start:stop],
        )


@dataclass(frozen=True)
class FeatureDistribution:
    """The distributions of the features, which are independent of each other.

    Args:
        sizes: Number of values of each categorical feature.
        exponents: Power-law exponent of the value frequencies of each.
        missing: Share of empty fields of 13 dense and 26 categorical features.
    """

    sizes: tuple[int, ...]
    exponents: np.ndarray
    missing: np.ndarray

    def draw(self, num_rows: int, rng: np.random.Generator) -> Features:
        """Draw `num_rows` rows."""
        normals = rng.standard_normal((NUM_DENSE, num_rows), dtype=np.float32)
        counts = np.exp(np.float32(1.6) * normals + np.float32(1.2)).astype(np.int64)
        counts[1] -= 2  # Criteo's I2 is the one with negative values
        ranks = np.empty((len(self.sizes), num_rows), np.int64)
        uniform = rng.random(ranks.shape)
        for i, (size, exponent) in enumerate(
            zip(self.sizes, self.exponents, strict=True)
        ):
            ranks[i] = power_law_ranks(uniform[i], size, exponent)
        chance = rng.random((len(self.missing), num_rows), dtype=np.float32)
        missing = self.missing.astype(np.float32)
        return Features(counts, ranks, chance < missing[:, None])


def feature_distribution(
    seed: int, vocabulary_scale: float = 1.0
) -> FeatureDistribution:
    """Draw the distributions of the features.

    Args:
        seed: Seed of the draw.
        vocabulary_scale: Factor of Criteo's vocabulary sizes.
    """
    rng = np.random.default_rng([seed, 0])
    num_categorical = len(KAGGLE_VOCABULARY_SIZES)
    return FeatureDistribution(
        sizes=tuple(
            max(1, round(size * vocabulary_scale)) for size in KAGGLE_VOCABULARY_SIZES
        ),
        exponents=rng.uniform(1.05, 1.6, num_categorical),
        missing=rng.choice(_MISSING_SHARES, NUM_DENSE + num_categorical),
    )


def power_law_ranks(uniform: np.ndarray, size: int, exponent: float) -> np.ndarray:
    """Return ranks 0 to `size - 1` whose density falls as `(rank + 1) ** -exponent`.

    Args:
        uniform: Random numbers in [0, 1), of any shape.
        size: Number of ranks.
        exponent: Any number but 1.

    Returns:
        int64 array of the shape of `uniform`.
    """
    power = 1.0 - exponent
    values = ((size + 1) ** power - 1) * uniform + 1
    ranks = np.floor(values ** (1 / power)).astype(np.int64) - 1
    return np.clip(ranks, 0, size - 1)  # rounding may make a rank one too large


def power_law_shares(ranks: np.ndarray, size: int, exponent: float) -> np.ndarray:
    """Return the probability of each of `ranks` under `power_law_ranks`.

    Example:

    >>> power_law_shares(np.arange(3), 3, 2.0).round(3).tolist()
    [0.667, 0.222, 0.111]
    """
    power = 1.0 - exponent
    below = np.power(ranks + 1.0, power) - np.power(ranks + 2.0, power)
    return below / (1 - (size + 1.0) ** power)
