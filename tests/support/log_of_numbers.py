"""A made-up log of numbers, and a description with every transform."""

from pathlib import Path

import numpy as np

DESCRIPTION = """
label: y
dense:
  - {name: price, transform: standardize, clip: [null, 500], missing_flag: true}
  - {name: price_rank, column: price, transform: {quantiles: 20}}
  - visits
  - {name: visits_scaled, column: visits, transform: minmax}
  - {name: price_squared, column: price, transform: log2_squared}
categorical:
  - city
  - {name: price_bucket, column: price, buckets: {quantiles: 10}}
  - {name: visits_bucket, column: visits, buckets: log2_squared}
  - {name: hour, buckets: {quantiles: 4}}
"""
NAMES = ("y", "price", "visits", "hour", "city")


def make_numbers(num_rows: int, seed: int = 0) -> list[tuple[str, ...]]:
    """Return rows as text: values drift, so that splits differ in their statistics."""
    rng = np.random.default_rng(seed)
    drift = np.linspace(1, 3, num_rows)
    prices = np.round(rng.lognormal(3, 2, num_rows) * drift, 3)
    texts = [str(price) if rng.random() < 0.9 else "" for price in prices]
    visits = rng.poisson(2 * drift) - 1
    hours = rng.integers(24, size=num_rows)
    return [
        (str(rng.integers(2)), price, str(visit), str(hour), f"c{rng.integers(5)}")
        for price, visit, hour in zip(texts, visits, hours, strict=True)
    ]


def write_numbers(path: Path, rows: list[tuple[str, ...]]) -> Path:
    """Write rows as CSV with a head line."""
    path.write_text("\n".join(map(",".join, [NAMES, *rows])) + "\n")
    return path


def column_of(rows: list[tuple[str, ...]], name: str) -> np.ndarray:
    """Return a column of numbers; NaN where missing."""
    position = NAMES.index(name)
    return np.array([float(row[position] or "nan") for row in rows])
