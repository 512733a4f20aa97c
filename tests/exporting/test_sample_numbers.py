"""Numbers that have given features, against the features that they have."""

import numpy as np
import pytest

from tfdlrm.data.number_features import NumberFeature
from tfdlrm.data.number_statistics import NumberStatistics
from tfdlrm.data.transforms import (
    IsMissing,
    Log1p,
    LogSquared,
    MinMax,
    NoTransform,
    Quantiles,
    Standardize,
)
from tfdlrm.exporting.sample_numbers import ColumnFeatures

RNG = np.random.default_rng(0)
PRICES = np.round(RNG.lognormal(3, 2, 400), 2)
NUMBERS = [
    *PRICES[:30],
    *(-7.25, 0.0, 1.0, 2.0, 3.0, 41.0, 1e9, -1e30, 3.4e38, 1e-30, np.nan),
]


def column(dense, buckets=(), is_integer=False, numbers=NUMBERS):
    """Return the features of numbers, fitted to prices."""
    numbers = np.array(numbers)

    def fit(transform, clip=None):
        feature = NumberFeature("price", transform, clip)
        return feature.fit(NumberStatistics.of(feature.clipped(PRICES)))

    fitted, fitted_buckets = (
        [fit(*args) for args in part] for part in (dense, buckets)
    )
    return ColumnFeatures(
        [(feature, feature.dense(numbers)) for feature in fitted],
        [
            (feature, feature.buckets(np.nan_to_num(numbers)), np.isnan(numbers))
            for feature in fitted_buckets
        ],
        is_integer,
    )


@pytest.mark.parametrize(
    ("dense", "buckets"),
    [
        ([(Standardize(),)], []),
        ([(Standardize(), (1.0, 50.0)), (IsMissing(),)], [(LogSquared(),)]),
        ([(MinMax(),), (Log1p(),)], [(Quantiles(20),)]),
        ([(Quantiles(20),)], []),
        ([(LogSquared(),)], []),
        ([(LogSquared(),), (NoTransform(), (-5.0, None))], [(Quantiles(5),)]),
        ([], [(LogSquared(),), (Quantiles(7), (0.0, 9.5))]),
    ],
)
def test_texts_have_the_features_that_were_given(dense, buckets):
    features = column(dense, buckets)
    texts = features.texts()
    assert None not in texts
    values = np.array([float(text) if text else np.nan for text in texts])
    for feature, expected in features.dense:
        np.testing.assert_array_equal(feature.dense(values), expected)
    for feature, expected, are_missing in features.buckets:
        np.testing.assert_array_equal(np.isnan(values), are_missing)
        actual = feature.buckets(np.nan_to_num(values))
        np.testing.assert_array_equal(actual[~are_missing], expected[~are_missing])


def test_prices_come_back_as_they_were_written():
    texts = column([(Standardize(),)], numbers=PRICES).texts()
    assert [float(text) for text in texts] == PRICES.tolist()
    assert max(map(len, texts)) <= max(len(repr(price)) for price in PRICES.tolist())


def test_integers_stay_integers_and_a_missing_number_is_blank():
    numbers = [7.0, 0.0, -3.0, 12345.0, 2.0**40, np.nan]
    buckets = [(LogSquared(),)]
    texts = column([(IsMissing(),)], buckets, True, numbers).texts()
    assert texts[1:3] == ["0", "-3"] and texts[-1] == ""
    assert all(text.isdigit() for text in (texts[0], texts[3], texts[4]))


def test_features_that_no_number_has_have_no_text():
    features = column([(Standardize(),)], [(LogSquared(),)], numbers=[5.0, 100.0])
    (feature, buckets, are_missing), *_ = features.buckets
    swapped = ColumnFeatures(
        features.dense, [(feature, buckets[::-1], are_missing)], False
    )
    assert swapped.texts() == [None, None]
