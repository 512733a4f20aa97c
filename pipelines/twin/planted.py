"""The planted truth of the Criteo twin, by which the labels of its rows are drawn."""

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
from pipelines.twin.turnover import identities

BASE_RATE = 0.256
LOGIT_STEP = 1 / 1024
"""Planted logits are multiples of this step, so that counting ranks rows exactly."""

MAX_LOGIT = 16.0

LATENT_DIM = 2
NUM_INTERACTIONS = 10

MIN_SHARE = 0.005
"""Rarer values have no effect, since no model could learn many of them."""

# Standard deviations of the three parts of a row's logit.
DENSE_DEVIATION = 0.5
MAIN_DEVIATION = 0.9
INTERACTION_DEVIATION = 1.0

_CALIBRATION_ROWS = 2**17


@dataclass(frozen=True)
class PlantedModel:
    """The log-odds of a click: effects of counts, of values and of pairs of values.

    The most frequent values of a categorical feature have effects, one array entry
    each. The last entry, all zeros, is for all other values and for a missing value.

    Args:
        dense: Effect of the logarithm of each dense feature.
        main: Effects of each feature's values, an array `(values + 1,)` a feature.
        latent: Vectors of the same values, an array `(values + 1, LATENT_DIM)` each.
        pairs: Pairs of features; the dot product of the two vectors is an effect.
        intercept: Logit of a row without any effect.
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
        """Return the parts of each row's logit: dense features, values and pairs."""
        logs = np.log1p(np.maximum(features.counts, 0), dtype=np.float32)
        logs[features.is_missing[:NUM_DENSE]] = 0
        dense = self.dense.astype(np.float32) @ logs
        main = np.zeros(features.ranks.shape[1])
        entries = []
        for i, ranks in enumerate(features.ranks):
            last_entry = len(self.main[i]) - 1
            entry = np.minimum(ranks, last_entry)
            entry[features.is_missing[NUM_DENSE + i]] = last_entry
            main += self.main[i][entry]
            entries.append(entry)
        interactions = np.zeros_like(main)
        for (i, j), products in zip(self.pairs, self._products, strict=True):
            products_index = entries[i] * products.shape[1] + entries[j]
            interactions += products.ravel()[products_index]
        return dense, main, interactions

    def logits(self, features: Features) -> np.ndarray:
        """Return the planted log-odds of each row, multiples of `LOGIT_STEP`."""
        dense, main, interactions = self.parts(features)
        logits = np.clip(
            self.intercept + dense + main + interactions, -MAX_LOGIT, MAX_LOGIT
        )
        return np.rint(logits / LOGIT_STEP) * LOGIT_STEP


def planted_models(
    seed: int,
    distribution: FeatureDistribution,
    days: int = 1,
    drift: float = 0.0,
    turnover: float = 0.0,
) -> tuple[PlantedModel, ...]:
    """Draw the planted truth of each day.

    From one day to the next every effect `e` becomes `sqrt(1 - drift**2) * e + drift *
    f`, where `f` is drawn as `e` was: the deviation of the effects stays the same, and
    effects `n` days apart correlate by `(1 - drift**2) ** (n / 2)`. A value that takes
    the place of another has the effects `f`. The pairs stay the same. Every day has the
    base rate, by its intercept.

    Args:
        seed: Seed of the draw.
        distribution: The distributions of the features.
        days: Number of days.
        drift: From 0, no change, to 1, new effects every day.
        turnover: Share of the values that are replaced by new ones every day.
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
    model = _scale(model, scales)
    models = [_set_base_rate(model, sample)]
    for day in range(1, days):
        fresh = _scale(_draw_effects(distribution, pairs, rng), scales)
        model = _mix(model, fresh, np.sqrt(1 - drift**2), drift)
        model = _replace_values(model, fresh, distribution, day, turnover)
        models.append(_set_base_rate(model, sample))
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


def _scale(model: PlantedModel, scales: tuple[float, float, float]) -> PlantedModel:
    dense, main, latent = scales
    return replace(
        model,
        dense=model.dense * dense,
        main=tuple(effects * main for effects in model.main),
        latent=tuple(vectors * latent for vectors in model.latent),
    )


def _mix(
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


def _replace_values(
    model: PlantedModel,
    fresh: PlantedModel,
    distribution: FeatureDistribution,
    day: int,
    turnover: float,
) -> PlantedModel:
    """Give the values that are new on a day effects of their own."""
    main, latent = [], []
    for feature, size in enumerate(distribution.sizes):
        ranks = np.arange(len(model.main[feature]))
        values, old_values = (
            identities(ranks, size, number, turnover) for number in (day, day - 1)
        )
        is_new = values != old_values
        is_new[-1] = False  # that of all rare values
        main.append(np.where(is_new, fresh.main[feature], model.main[feature]))
        latent.append(
            np.where(is_new[:, None], fresh.latent[feature], model.latent[feature])
        )
    return replace(model, main=tuple(main), latent=tuple(latent))


def _set_base_rate(model: PlantedModel, sample: Features) -> PlantedModel:
    """Return the model with the intercept for the base rate, found by bisection."""
    logits = sum(model.parts(sample))
    low, high = -20.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        rate = np.mean(1 / (1 + np.exp(-(logits + middle))))
        low, high = (middle, high) if rate < BASE_RATE else (low, middle)
    return replace(model, intercept=low)


def num_frequent(size: int, exponent: float) -> int:
    """Return the number of ranks whose share is at least `MIN_SHARE`."""
    shares = power_law_shares(
        np.arange(min(size, round(1 / MIN_SHARE))), size, exponent
    )
    return int(np.count_nonzero(shares >= MIN_SHARE))
