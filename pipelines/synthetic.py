"""Rows like Criteo's, for those without the data: labels follow a planted model."""

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

NUM_DENSE = 13

# Distinct values of Criteo Kaggle's C1..C26, as the reference implementation counts
# them, missing included; the large ones are cut to `MAX_VOCABULARY_SIZE`.
KAGGLE_VOCABULARY_SIZES = (
    1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194,
    27, 14992, 5461306, 10, 5652, 2173, 4, 7046547, 18, 15, 286181, 105, 142572,
)  # fmt: skip
MAX_VOCABULARY_SIZE = 20_000
LATENT_DIM = 4
NUM_INTERACTIONS = 40
BASE_RATE = 0.256
CHUNK_ROWS = 100_000


@dataclass(frozen=True)
class PlantedModel:
    """What decides the labels: main effects and interactions of ids and counts.

    Args:
        sizes: Number of values of each categorical feature.
        exponents: Power-law exponent of each feature's value frequencies.
        missing: Share of empty fields: 13 dense and 26 categorical ones.
        main: Effect of each value, an array a feature.
        latent: Vector of each value, an array `(size, LATENT_DIM)` a feature.
        pairs: The pairs of features whose vectors' dot product is an effect.
        dense_effects: Effect of the logarithm of each dense feature.
        intercept: Logit of a row with no effects at all.
    """

    sizes: tuple[int, ...]
    exponents: np.ndarray
    missing: np.ndarray
    main: list[np.ndarray]
    latent: list[np.ndarray]
    pairs: np.ndarray
    dense_effects: np.ndarray
    intercept: float


def planted_model(seed: int) -> PlantedModel:
    """Draw the planted model of `seed`; `BASE_RATE` of its rows are clicks."""
    rng = np.random.default_rng(seed)
    sizes = tuple(min(size, MAX_VOCABULARY_SIZE) for size in KAGGLE_VOCABULARY_SIZES)
    all_pairs = np.array(list(itertools.combinations(range(len(sizes)), 2)))
    model = PlantedModel(
        sizes=sizes,
        exponents=rng.uniform(1.05, 1.6, len(sizes)),
        missing=rng.choice([0.0, 0.03, 0.2, 0.45], NUM_DENSE + len(sizes)),
        main=[rng.normal(0, 0.2, size) for size in sizes],
        latent=[rng.normal(0, 0.3, (size, LATENT_DIM)) for size in sizes],
        pairs=rng.choice(all_pairs, NUM_INTERACTIONS, replace=False),
        dense_effects=rng.normal(0, 0.12, NUM_DENSE),
        intercept=0.0,
    )
    logits = logits_of(model, *draw_features(model, CHUNK_ROWS, rng))
    return replace(model, intercept=_intercept(logits))


def _intercept(logits: np.ndarray) -> float:
    """The constant that makes the mean probability the base rate, by bisection."""
    low, high = -20.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        rate = np.mean(1 / (1 + np.exp(-(logits + middle))))
        low, high = (middle, high) if rate < BASE_RATE else (low, middle)
    return low


def write_raw(path: Path, num_rows: int, seed: int) -> None:
    """Write a Criteo TSV file of synthetic rows, complete or not at all.

    Args:
        path: The file.
        num_rows: Rows in it.
        seed: Seed; the same seed gives the same file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial")
    model = planted_model(seed)
    try:
        with aside.open("wb") as file:
            for start in range(0, num_rows, CHUNK_ROWS):
                rng = np.random.default_rng([seed, start])
                rows = min(CHUNK_ROWS, num_rows - start)
                frame = draw_rows(model, rows, rng)
                frame.write_csv(file, separator="\t", include_header=False)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def draw_rows(
    model: PlantedModel, num_rows: int, rng: np.random.Generator
) -> pl.DataFrame:
    """Draw rows: label, I1..I13 and C1..C26 as Criteo writes them."""
    counts, values, is_missing = draw_features(model, num_rows, rng)
    logits = logits_of(model, counts, values, is_missing)
    labels = rng.random(num_rows) < 1 / (1 + np.exp(-logits))
    columns = {"label": pl.Series(labels.astype(np.uint8))}
    for i in range(NUM_DENSE):
        columns[f"I{i + 1}"] = _with_missing(counts[:, i], is_missing[:, i])
    for i, ranks in enumerate(values):
        hashes = np.char.mod("%08x", _hash(i, np.arange(model.sizes[i])))
        absent = is_missing[:, NUM_DENSE + i]
        columns[f"C{i + 1}"] = _with_missing(hashes[ranks], absent)
    return pl.DataFrame(columns)


def draw_features(
    model: PlantedModel, num_rows: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Dense counts, each categorical feature's ranks, and which fields are empty."""
    counts = np.floor(rng.lognormal(1.2, 1.6, (num_rows, NUM_DENSE))).astype(np.int64)
    counts[:, 1] -= 2  # Criteo's I2 is the one with negative values
    values = [
        power_law_ranks(rng.random(num_rows), size, exponent)
        for size, exponent in zip(model.sizes, model.exponents, strict=True)
    ]
    return counts, values, rng.random((num_rows, len(model.missing))) < model.missing


def logits_of(
    model: PlantedModel,
    counts: np.ndarray,
    values: list[np.ndarray],
    is_missing: np.ndarray,
) -> np.ndarray:
    present = ~is_missing
    dense = np.log1p(np.maximum(counts, 0)) * present[:, :NUM_DENSE]
    logits = model.intercept + (dense - 1.2) @ model.dense_effects
    here = present[:, NUM_DENSE:]  # a missing value has no effect
    latent = []
    for i, ranks in enumerate(values):
        logits += model.main[i][ranks] * here[:, i]
        latent.append(model.latent[i][ranks] * here[:, i, None])
    for first, second in model.pairs:
        logits += np.einsum("rd,rd->r", latent[first], latent[second])
    return logits


def power_law_ranks(uniform: np.ndarray, size: int, exponent: float) -> np.ndarray:
    """Ranks 0 to `size - 1` whose density falls as `(rank + 1) ** -exponent`.

    Args:
        uniform: Random numbers in [0, 1), of any shape.
        size: Number of ranks.
        exponent: Not 1.

    Returns:
        int64 array of the shape of `uniform`.
    """
    power = 1.0 - exponent
    values = ((size + 1) ** power - 1) * uniform + 1
    ranks = np.floor(values ** (1 / power)).astype(np.int64) - 1
    return np.clip(ranks, 0, size - 1)  # rounding may carry a rank one too far


def _hash(feature: int, ranks: np.ndarray) -> np.ndarray:
    """32-bit hashes; an odd factor makes no two values of a feature collide."""
    return (ranks * 2654435761 + (feature + 1) * 97658963) % 2**32


def _with_missing(values: np.ndarray, is_missing: np.ndarray) -> pl.Series:
    return pl.select(
        pl.when(pl.Series(is_missing)).then(None).otherwise(pl.Series(values))
    ).to_series()
