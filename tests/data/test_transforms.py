"""Transforms of numbers, against NumPy, scikit-learn and plain formulas."""

import json
import math

import numpy as np
import pytest

from tfdlrm.data import number_statistics
from tfdlrm.data.number_features import NumberFeature, bucket_hash, bucket_text
from tfdlrm.data.number_statistics import NumberStatistics
from tfdlrm.data.transforms import (
    LOWEST_BUCKET,
    SMALLEST_DOUBLE,
    IsMissing,
    Log1p,
    LogSquared,
    MinMax,
    NoTransform,
    Quantiles,
    Standardize,
)

preprocessing = pytest.importorskip("sklearn.preprocessing")
RNG = np.random.default_rng(0)
SKEWED = np.where(RNG.random(3000) < 0.5, -1, 1) * RNG.lognormal(3, 2, 3000)
COLUMNS = {
    "skewed": SKEWED,
    "counts": RNG.poisson(1.5, 2000).astype(float),
    "mostly zero": np.where(RNG.random(1000) < 0.9, 0.0, 1.0),
    "rarely zero": np.where(RNG.random(1000) < 0.1, 0.0, 1.0),
    "large integers": 2.0**60 + 1024 * RNG.integers(10**6, size=500),
    "far from zero": 1.7e12 + RNG.random(800),
    "extreme": np.array([-3.4e38, -1.0, 0.0, 1e-30, 2.0, 3.4e38]),
    "one row": np.array([7.5]),
}
by_column = pytest.mark.parametrize("values", COLUMNS.values(), ids=COLUMNS)


def probes(values):
    """Return numbers at, between and beyond those of training rows."""
    distinct = np.unique(values)
    between = (distinct[1:] / 2 + distinct[:-1] / 2)[:500]
    low, high = distinct[0], distinct[-1]
    beyond = [low - abs(low) - 1, high + abs(high) + 1]
    return np.concatenate([distinct[:500], between, beyond])


def standardized_exactly(values):
    """Return mean and deviation by sums that round nothing away."""
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((values - mean) ** 2) / len(values))


@by_column
def test_mean_and_deviation_are_those_of_exact_sums(values):
    transform = Standardize().fit(NumberStatistics.of(values))
    mean, deviation = standardized_exactly(values)
    assert transform.mean == pytest.approx(mean, rel=1e-15)
    assert transform.deviation == pytest.approx(deviation or 1, rel=1e-9)


def test_standardize_and_minmax_are_those_of_scikit_learn():
    statistics = NumberStatistics.of(SKEWED)
    column = SKEWED[:, None]
    for transform, scaler in (
        (Standardize(), preprocessing.StandardScaler()),
        (MinMax(), preprocessing.MinMaxScaler()),
    ):
        scaler.fit(column)
        fitted = transform.fit(statistics)
        beyond = probes(SKEWED)
        np.testing.assert_allclose(
            fitted.numbers(beyond), scaler.transform(beyond[:, None])[:, 0], rtol=1e-12
        )


@by_column
@pytest.mark.parametrize("quantiles", [2, 10])
@pytest.mark.filterwarnings("ignore:n_quantiles")
def test_ranks_are_those_of_scikit_learn(values, quantiles):
    transform = Quantiles(quantiles).fit(NumberStatistics.of(values))
    np.testing.assert_allclose(
        transform.boundaries,
        np.quantile(values, np.linspace(0, 1, quantiles + 1)),
        rtol=1e-14,
        atol=1e-15,  # NumPy's own: it takes parts of 2, not of 1e-30
    )
    if len(values) <= quantiles:
        return  # scikit-learn takes fewer quantiles then
    scaler = preprocessing.QuantileTransformer(
        n_quantiles=quantiles + 1, subsample=None
    ).fit(values[:, None])
    expected = scaler.transform(probes(values)[:, None])[:, 0]
    # Interpolated between numbers of the size of 2**60, ranks have fewer digits.
    np.testing.assert_allclose(transform.numbers(probes(values)), expected, atol=1e-6)


def test_buckets_without_repeated_boundaries_are_those_of_scikit_learn():
    transform = Quantiles(16).fit(NumberStatistics.of(SKEWED))
    binner = preprocessing.KBinsDiscretizer(
        16,
        encode="ordinal",
        strategy="quantile",
        subsample=None,
        **_LINEAR,
    ).fit(SKEWED[:, None])
    expected = binner.transform(probes(SKEWED)[:, None])[:, 0]
    assert transform.buckets(probes(SKEWED)).tolist() == expected.tolist()
    counts = np.bincount(transform.buckets(SKEWED))
    assert len(counts) == 16
    assert counts.min() >= len(SKEWED) // 16 - 1


_LINEAR = (
    {"quantile_method": "linear"}
    if "quantile_method" in preprocessing.KBinsDiscretizer().get_params()
    else {}
)


@pytest.mark.parametrize("name", ["mostly zero", "rarely zero"])
def test_a_value_that_fills_a_part_has_a_bucket_of_its_own(name):
    values = COLUMNS[name]
    transform = Quantiles(5).fit(NumberStatistics.of(values))
    zero, one = transform.buckets(np.array([0.0, 1.0]))
    assert zero < one
    # Beyond the training rows are the buckets at the ends.
    assert transform.buckets(np.array([-9.0, 9.0])).tolist() == [zero, one]


def test_constant_columns_and_columns_without_numbers_are_harmless():
    constant = NumberStatistics.of(np.full(9, 4.0))
    nothing = NumberStatistics.of(np.full(9, np.nan))
    values = np.array([4.0, 5.0, np.nan])
    for transform, expected in (
        (Standardize().fit(constant), [0, 1, 0]),
        (MinMax().fit(constant), [0, 1, 0]),
        (Quantiles(4).fit(constant), [0, 1, 0]),
        (Standardize().fit(nothing), [4, 5, 0]),
        (MinMax().fit(nothing), [4, 5, 0]),
        (Quantiles(4).fit(nothing), [0, 0, 0]),
    ):
        assert transform.is_fitted
        assert NumberFeature("a", transform).dense(values).tolist() == expected
    assert Quantiles(4).fit(constant).buckets(values[:2]).tolist() == [0, 0]
    assert Quantiles(4).fit(nothing).buckets(values[:2]).tolist() == [0, 0]


def test_log_squared_is_that_of_the_winners_of_the_contest():
    values = np.arange(-5, 200_000)
    by_python = [math.floor(math.log(x) ** 2) if x > 2 else x for x in map(int, values)]
    assert LogSquared().numbers(values.astype(float)).tolist() == by_python
    spelled = [
        f"SP{x}" if x <= 2 else str(y) for x, y in zip(values, by_python, strict=True)
    ]
    buckets = LogSquared().buckets(values.astype(float)).tolist()
    pairs = set(zip(spelled, buckets, strict=True))
    assert len(pairs) == len(set(spelled)) == len(set(buckets))
    assert buckets == sorted(buckets)


def test_log_squared_of_fractions_and_extremes():
    values = np.array([-2.7, -0.5, 0.9, 2.5, math.e, 3.4e38, -1e30, np.nan])
    squared = math.floor(math.log(3.4e38) ** 2)
    numbers = LogSquared().numbers(values[:-2]).tolist()
    assert numbers == [-2, 0, 0, 0, 0, squared]  # e is below the real number
    assert not np.signbit(numbers[1])
    buckets = LogSquared().buckets(values)
    assert buckets[:-1].tolist() == [-2, 0, 0, 2, 2, squared + 2, LOWEST_BUCKET]


@pytest.mark.parametrize("max_values", [2**20, 100], ids=["exact", "joined"])
def test_statistics_are_the_same_in_any_order_and_in_any_pieces(
    monkeypatch, max_values
):
    monkeypatch.setattr(number_statistics, "MAX_VALUES", max_values)
    monkeypatch.setattr(number_statistics, "_CHUNK_ROWS", 700)
    values = np.where(RNG.random(3000) < 0.1, np.nan, SKEWED)
    whole = NumberStatistics.of(values)
    assert (whole.value_counts.bits > 0) == (max_values == 100)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        cuts = np.sort(rng.integers(len(values), size=20))
        parts = [*map(NumberStatistics.of, np.split(rng.permutation(values), cuts))]
        while len(parts) > 1:
            parts.append(parts.pop(int(rng.integers(len(parts)))) + parts.pop(0))
        (total,) = parts
        assert (total.total, total.total_of_squares) == (
            whole.total,
            whole.total_of_squares,
        )
        assert total.missing == whole.missing == np.isnan(values).sum()
        assert total.boundaries(30) == whole.boundaries(30)
        assert (total.mean, total.deviation) == (whole.mean, whole.deviation)


def test_joined_values_stay_near_the_quantiles(monkeypatch):
    monkeypatch.setattr(number_statistics, "MAX_VALUES", 2**10)
    values = RNG.lognormal(3, 1, 20_000)
    boundaries = NumberStatistics.of(values).boundaries(20)
    expected = np.quantile(values, np.linspace(0, 1, 21))
    np.testing.assert_allclose(boundaries, expected, rtol=0.02)
    assert (boundaries[0], boundaries[-1]) == (values.min(), values.max())


def test_a_missing_number_is_zero_after_the_transform_and_flagged():
    values = np.array([np.nan, 3.0])
    for transform in (Log1p(), NoTransform(), Standardize(2.0, 1.0), MinMax(-3.0, 9.0)):
        assert NumberFeature("a", transform).dense(values)[0] == 0
        assert NumberFeature("a", transform).dense(values)[1] != 0
    assert NumberFeature("a", IsMissing()).dense(values).tolist() == [1, 0]


def test_limits_come_before_the_transform():
    values = np.array([-5.0, 50.0, 5000.0, np.nan])
    feature = NumberFeature("a", NoTransform(), (0.0, 100.0))
    assert feature.dense(values).tolist() == [0, 50, 100, 0]
    assert NumberFeature("a", IsMissing(), (0.0, 1.0)).dense(values)[3] == 1
    feature = NumberFeature("a", Log1p(), (None, 100.0))
    np.testing.assert_allclose(feature.dense(values)[:3], np.log1p([0, 50, 100]))
    assert NumberFeature("a", LogSquared(), (None, 2.0)).buckets(values[:2])[1] == 2


def test_features_are_finite_whatever_comes():
    values = np.array([3.4e38, -3.4e38, 1e-300, 0.0])
    for transform in (Standardize(0.0, 1e-12), MinMax(0.0, 1e-30), NoTransform()):
        dense = NumberFeature("a", transform).dense(values)
        assert np.isfinite(dense).all()
        assert dense[2] == dense[3] == 0


def test_numbers_that_machines_take_for_zero_are_zero():
    transform = Quantiles(3, (0.0, 0.0, 1.0, 2.0))
    feature = NumberFeature("a", transform)
    zero, tiny, small = feature.buckets(np.array([0.0, 5e-324, SMALLEST_DOUBLE]))
    assert zero == tiny == small - 1


@pytest.mark.parametrize(
    "transform",
    [
        *(Log1p(), NoTransform(), IsMissing(), LogSquared(), Standardize(), MinMax()),
        *(Standardize(0.1, 1e300), MinMax(-1 / 3, 7.0), Quantiles(3)),
        *(Quantiles(2, (0.1, 0.2, 1 / 3)), Quantiles(2, ())),
    ],
)
@pytest.mark.parametrize("clip", [None, (None, 3.0), (-0.1, None)])
def test_features_are_the_same_after_json(transform, clip):
    feature = NumberFeature("price", transform, clip)
    fields = json.loads(json.dumps(feature.to_json()))
    assert NumberFeature.from_json(fields) == feature


def test_fitting_changes_nothing_but_the_fitted_numbers():
    statistics = NumberStatistics.of(SKEWED)
    for transform in (Standardize(), MinMax(), Quantiles(7), LogSquared()):
        feature = NumberFeature("a", transform, (0.0, None))
        fitted = feature.fit(statistics)
        assert fitted.is_fitted
        assert fitted.unfitted() == feature


def test_buckets_are_values_in_both_spellings():
    assert [bucket_text(bucket) for bucket in (-3, 0, 12)] == ["-3", "0", "12"]
    assert f"{bucket_hash(LOWEST_BUCKET):08x}" == "80000000"
    assert bucket_hash(np.array([-1, 5])).tolist() == [2**32 - 1, 5]
