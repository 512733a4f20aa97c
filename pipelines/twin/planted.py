"""The planted truth of the Criteo twin: what decides the labels of its rows."""

import itertools
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pipelines.twin.features import (
    NUM_DENSE,
    FeatureDistribution,
    Features,
    power_law_shares,
)

BASE_RATE = 0.256
LOGIT_STEP = 1 / 1024
"""Planted logits are multiples of it, so that counting them ranks rows exactly."""

MAX_LOGIT = 16.0

LATENT_DIM = 2
NUM_INTERACTIONS = 10

MIN_SHARE = 0.005
"""Values less frequent than this have no effect: no model could learn many of them."""

# Standard deviations of the three parts of a row's logit.
DENSE_DEVIATION = 0.5
MAIN_DEVIATION = 0.9
INTERACTION_DEVIATION = 1.0

_CALIBRATION_ROWS = 2**17


@dataclass(frozen=True)
class PlantedModel:
    """Effects of counts, values and pairs of values: the log-odds of a click.

    A categorical feature's most frequent values have effects, one array entry each;
    the last entry, all zeros, is that of the other values and of a missing one.

    Args:
        dense: Effect of the logarithm of each dense feature.
        main: Effects of each feature's values, an array `(values + 1,)` a feature.
        latent: Vectors of the same values, an array `(values + 1, LATENT_DIM)` each.
        pairs: The pairs of features whose vectors' dot product is an effect.
        intercept: Logit of a row with no effects at all.
    """

    dense: np.ndarray
    main: tuple[np.ndarray, ...]
    latent: tuple[np.ndarray, ...]
    pairs: np.ndarray
    intercept: float

    @cached_property
    def _products(self) -> list[np.ndarray]:
        return [self.latent[i] @ self.latent[j].T for i, j in self.pairs]

    def parts(self, features: Features) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What dense features, values and pairs of values add to each row's logit."""
        logs = np.log1p(np.maximum(features.counts, 0), dtype=np.float32)
        logs[features.is_missing[:NUM_DENSE]] = 0
        dense = self.dense.astype(np.float32) @ logs
        main = np.zeros(features.ranks.shape[1])
        entries = []
        for i, ranks in enumerate(features.ranks):
            last = len(self.main[i]) - 1
            entry = np.minimum(ranks, last)
            entry[features.is_missing[NUM_DENSE + i]] = last
            main += self.main[i][entry]
            entries.append(entry)
        interactions = np.zeros_like(main)
        for (i, j), products in zip(self.pairs, self._products, strict=True):
            places = entries[i] * products.shape[1] + entries[j]
            interactions += products.ravel()[places]
        return dense, main, interactions

    def logits(self, features: Features) -> np.ndarray:
        """Planted log-odds of each row, multiples of `LOGIT_STEP`."""
        dense, main, interactions = self.parts(features)
        logits = np.clip(
            self.intercept + dense + main + interactions, -MAX_LOGIT, MAX_LOGIT
        )
        return np.rint(logits / LOGIT_STEP) * LOGIT_STEP


def planted_models(
    seed: int, distribution: FeatureDistribution, days: int = 1, drift: float = 0.0
) -> tuple[PlantedModel, ...]:
    """The planted truth of each day.

    From a day to the next every effect `e` becomes `sqrt(1 - drift**2) * e + drift *
    f`, where `f` is drawn as `e` was: the deviation of effects stays, and those of
    days `n` apart correlate by `(1 - drift**2) ** (n / 2)`. The pairs stay. The
    intercept gives each day the base rate.

    Args:
        seed: Seed.
        distribution: The features.
        days: Number of days.
        drift: From 0, no change, to 1, effects anew every day.
    """
    rng = np.random.default_rng([seed, 1])
    sample = distribution.draw(_CALIBRATION_ROWS, rng)
    all_pairs = np.array(
        list(itertools.combinations(range(len(distribution.sizes)), 2))
    )
    pairs = rng.choice(all_pairs, NUM_INTERACTIONS, replace=False)
    model = _draw_effects(distribution, pairs, rng)
    dense, main, interactions = (part.std() for part in model.parts(sample))
    scales = (
        DENSE_DEVIATION / dense,
        MAIN_DEVIATION / main,
        np.sqrt(INTERACTION_DEVIATION / interactions),
    )
    model = _scaled(model, scales)
    models = [_at_base_rate(model, sample)]
    for _ in range(days - 1):
        fresh = _scaled(_draw_effects(distribution, pairs, rng), scales)
        model = _mixed(model, fresh, np.sqrt(1 - drift**2), drift)
        models.append(_at_base_rate(model, sample))
    return tuple(models)


def _draw_effects(
    distribution: FeatureDistribution, pairs: np.ndarray, rng: np.random.Generator
) -> PlantedModel:
    main, latent = [], []
    for size, exponent in zip(distribution.sizes, distribution.exponents, strict=True):
        entries = num_frequent(size, exponent) + 1
        values = rng.standard_normal((entries, 1 + LATENT_DIM))
        values[-1] = 0
        main.append(values[:, 0])
        latent.append(values[:, 1:])
    dense = rng.standard_normal(NUM_DENSE)
    return PlantedModel(dense, tuple(main), tuple(latent), pairs, 0.0)


def _scaled(model: PlantedModel, scales: tuple[float, float, float]) -> PlantedModel:
    dense, main, latent = scales
    return replace(
        model,
        dense=model.dense * dense,
        main=tuple(effects * main for effects in model.main),
        latent=tuple(vectors * latent for vectors in model.latent),
    )


def _mixed(
    old: PlantedModel, new: PlantedModel, of_old: float, of_new: float
) -> PlantedModel:
    def mix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a * of_old + b * of_new

    return replace(
        old,
        dense=mix(old.dense, new.dense),
        main=tuple(map(mix, old.main, new.main)),
        latent=tuple(map(mix, old.latent, new.latent)),
    )


def _at_base_rate(model: PlantedModel, sample: Features) -> PlantedModel:
    """The model whose mean probability is the base rate, by bisection."""
    logits = sum(model.parts(sample))
    low, high = -20.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        rate = np.mean(1 / (1 + np.exp(-(logits + middle))))
        low, high = (middle, high) if rate < BASE_RATE else (low, middle)
    return replace(model, intercept=low)


def num_frequent(size: int, exponent: float) -> int:
    """Number of ranks whose share is at least `MIN_SHARE`."""
    shares = power_law_shares(
        np.arange(min(size, round(1 / MIN_SHARE))), size, exponent
    )
    return int(np.count_nonzero(shares >= MIN_SHARE))
