"""The workload of every system: Criteo Kaggle's architecture, and rows to train on."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipelines.synthetic import KAGGLE_VOCABULARY_SIZES, NUM_DENSE, power_law_ranks

EMBEDDING_DIM = 16
BOTTOM_UNITS = (512, 256, 64, EMBEDDING_DIM)
TOP_UNITS = (512, 256, 1)
LEARNING_RATE = 0.01

NUM_BATCHES = 64
"""Distinct batches, used in turn, so that no system trains on one cached batch."""

POWER_LAW_EXPONENT = 1.1
CLICK_RATE = 0.25


@dataclass(frozen=True)
class Batches:
    """Batches to train on, in order.

    Args:
        dense: float32 `(batches, batch, 13)`.
        ids: int32 `(batches, batch, features)`.
        labels: float32 `(batches, batch)`, 0 or 1.
    """

    dense: np.ndarray
    ids: np.ndarray
    labels: np.ndarray


def vocabulary_sizes(table_scale: float) -> list[int]:
    """Return the published vocabulary sizes times `table_scale`, 1 at least."""
    return [max(1, round(size * table_scale)) for size in KAGGLE_VOCABULARY_SIZES]


def make_batches(
    sizes: list[int], batch_size: int, seed: int, num_batches: int = NUM_BATCHES
) -> Batches:
    """Draw batches; the same arguments give the same arrays.

    Args:
        sizes: Number of ids of each categorical feature.
        batch_size: Rows in a batch.
        seed: Seed.
        num_batches: Number of distinct batches.
    """
    rng = np.random.default_rng(seed)
    shape = (num_batches, batch_size)
    ids = [power_law_ids(rng, size, shape) for size in sizes]
    return Batches(
        # Distributed like log(x + 1) of Criteo's counts.
        dense=rng.gamma(2.0, 0.8, (*shape, NUM_DENSE)).astype(np.float32),
        ids=np.stack(ids, axis=-1),
        labels=(rng.random(shape) < CLICK_RATE).astype(np.float32),
    )


def power_law_ids(
    rng: np.random.Generator, size: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Draw int32 ids from 0 to `size - 1`, few of them frequent, as in a click log.

    Args:
        rng: Source of randomness.
        size: Number of ids; the density falls as `(id + 1) ** -POWER_LAW_EXPONENT`.
        shape: Shape of the result.
    """
    ranks = power_law_ranks(rng.random(shape), size, POWER_LAW_EXPONENT)
    return ranks.astype(np.int32)


def interaction_pairs() -> int:
    """Return the number of dot products that the top MLP takes."""
    num_vectors = len(KAGGLE_VOCABULARY_SIZES) + 1
    return num_vectors * (num_vectors - 1) // 2


def flops_per_sample() -> int:
    """Return the floating-point operations of one training step, per sample.

    Matrix products alone: two operations a weight of the MLPs, and the whole matrix of
    dot products; the backward pass costs twice the forward one. Look-ups, activations
    and the optimizer are not counted, nor is the gradient of the inputs left out.
    """
    bottom = (NUM_DENSE, *BOTTOM_UNITS)
    top = (EMBEDDING_DIM + interaction_pairs(), *TOP_UNITS)
    weights = sum(n * units for mlp in (bottom, top) for n, units in pairwise(mlp))
    num_vectors = len(KAGGLE_VOCABULARY_SIZES) + 1
    forward = 2 * weights + 2 * num_vectors**2 * EMBEDDING_DIM
    return 3 * forward
