"""Values of the Criteo twin that leave, and the new ones that take their places."""

import numpy as np

MIN_SIZE = 100
"""Features with fewer values, such as a country, keep them."""

_GOLDEN_RATIO = (5**0.5 - 1) / 2


def generations(ranks: np.ndarray, day: int, turnover: float) -> np.ndarray:
    """Return how many values have left the place of each rank by the start of a day.

    Each day the share `turnover` of the ranks, spread evenly, gets new values.

    Args:
        ranks: Frequency ranks, of any shape.
        day: Number of the day, from 0.
        turnover: From 0 to 1.

    Example:

    >>> ranks = np.arange(1000)
    >>> replaced = generations(ranks, 2, 0.25) != generations(ranks, 1, 0.25)
    >>> int(replaced.sum())
    250
    """
    # Multiples of the golden ratio fill the unit interval evenly.
    phases = (ranks + 1) * _GOLDEN_RATIO % 1
    return np.floor(phases + day * turnover).astype(np.int64)


def identities(ranks: np.ndarray, size: int, day: int, turnover: float) -> np.ndarray:
    """Return a number of the value that has each rank on a day.

    Args:
        ranks: Frequency ranks of one feature.
        size: Number of values of the feature on one day.
        day: Number of the day, from 0.
        turnover: From 0 to 1.

    Example:

    >>> identities(np.array([0, 1]), 2, day=5, turnover=1.0)  # 100 values at least
    array([0, 1])
    """
    if not turnover or size < MIN_SIZE:
        return ranks
    return ranks + size * generations(ranks, day, turnover)
