"""Transforms of a served graph, against those of NumPy that prepare a data set."""

import numpy as np
import pytest
import tensorflow as tf

from tfdlrm.data.number_features import NumberFeature
from tfdlrm.data.number_statistics import NumberStatistics
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.data.transforms import (
    IsMissing,
    Log1p,
    LogSquared,
    MinMax,
    NoTransform,
    Quantiles,
    Standardize,
)
from tfdlrm.exporting.raw_transforms import NumberTransforms

FLOAT32 = np.finfo(np.float32)


def numbers(rng, num_rows=8000):
    """Return numbers of all sizes, integers, ties, missing ones and edge cases."""
    parts = [
        rng.normal(17, 1000, num_rows),
        np.exp(rng.uniform(-80, 88, num_rows)) * rng.choice([-1, 1], num_rows),
        rng.integers(-5, 50, num_rows).astype(float),
        rng.lognormal(0, 2, num_rows),
        np.exp(np.sqrt(rng.integers(1, 7800, num_rows))),
        [0.0, -0.0, FLOAT32.max, -FLOAT32.max, 5e-324, 1e-40, 2, np.nextafter(2, 3)],
    ]
    values = np.concatenate(parts)
    return np.where(rng.random(len(values)) < 0.05, np.nan, values)


def fitted(transforms, columns):
    """Return features of transforms that are fitted to the values of columns."""
    features = {}
    for number, (transform, clip) in enumerate(transforms):
        column = f"x{number % len(columns)}"
        feature = NumberFeature(column, transform, clip)
        values = feature.clipped(columns[column])
        statistics = NumberStatistics.of(values[~np.isnan(values)][:3000])
        features[f"f{number}"] = feature.fit(statistics)
    return features


def graph(function):
    """Return a function as a graph runs it, after TensorFlow's optimizations."""
    return tf.function(
        function, input_signature=[tf.TensorSpec([None, None], "double")]
    )


COLUMNS = {
    "x0": numbers(np.random.default_rng(0)),
    "x1": numbers(np.random.default_rng(1)),
}
ROWS = np.stack([*COLUMNS.values()], axis=1)

DENSE = [
    (Standardize(), None),
    (Standardize(), (-10.0, 99.5)),
    (MinMax(), None),
    (MinMax(), (None, 7.0)),
    (IsMissing(), None),
    (Quantiles(20), None),
    (Quantiles(1000), (0.0, None)),
    (Quantiles(3), (1.0, 1.0)),  # a constant
    (LogSquared(), None),
    (LogSquared(), (-3.7, 1e6)),
    (NoTransform(), (-2.5, 2.5)),
    (Standardize(), (4.0, 4.0)),
]
BUCKETS = [
    (Quantiles(20), None),
    (LogSquared(), None),
    (Quantiles(7), (-5.0, 5.0)),
    (LogSquared(), (None, 1e9)),
    (Quantiles(3), (1.0, 1.0)),
]


def test_dense_features_are_those_of_a_data_set_bit_for_bit():
    features = fitted(DENSE, COLUMNS)
    schema = FeatureSchema((*features,), (), transforms=features)
    dense = graph(NumberTransforms(schema).dense)(ROWS).numpy()
    assert dense.dtype == np.float32
    for column, feature in zip(dense.T, features.values(), strict=True):
        expected = feature.dense(COLUMNS[feature.column])
        np.testing.assert_array_equal(column, expected, err_msg=str(feature))


def test_buckets_are_those_of_a_data_set():
    features = fitted(BUCKETS, COLUMNS)
    categorical = tuple(CategoricalFeature(name, 9) for name in features)
    schema = FeatureSchema((), categorical, transforms=features)
    buckets, are_missing = graph(NumberTransforms(schema).buckets)(ROWS)
    for number, feature in enumerate(features.values()):
        values = COLUMNS[feature.column]
        np.testing.assert_array_equal(are_missing[:, number], np.isnan(values))
        has_number = ~np.isnan(values)
        actual = buckets.numpy()[has_number, number]
        np.testing.assert_array_equal(actual, feature.buckets(values[has_number]))


def test_features_that_are_not_described_are_as_before():
    features = fitted([(Standardize(), None)], COLUMNS)
    features = {"s": features["f0"], "l": NumberFeature("x1", Log1p(), (0.0, 50.0))}
    schema = FeatureSchema(
        ("x1", "s", "x0", "l"), (), untransformed=("x0",), transforms=features
    )
    rows = ROWS[np.abs(ROWS).min(axis=1) > FLOAT32.tiny]  # others become 0
    values = np.nan_to_num(rows[:, ::-1])
    assert schema.number_columns == ["x1", "x0"]
    dense = graph(NumberTransforms(schema).dense)(rows[:, ::-1]).numpy()
    logs = np.log1p(np.maximum(values[:, 0], 0)).astype(np.float32)
    np.testing.assert_array_max_ulp(dense[:, 0], logs, 1)
    np.testing.assert_array_equal(dense[:, 2], values[:, 1].astype(np.float32))
    np.testing.assert_array_max_ulp(dense[:, 3], features["l"].dense(rows[:, 1]), 1)


@pytest.mark.parametrize("num_rows", [0, 1])
def test_small_batches_have_features_too(num_rows):
    features = fitted(DENSE, COLUMNS)
    schema = FeatureSchema((*features,), (), transforms=features)
    dense = graph(NumberTransforms(schema).dense)(ROWS[:num_rows])
    assert dense.shape == (num_rows, len(DENSE))


def test_the_float32_of_a_boundary_is_the_boundary():
    prices = np.round(np.random.default_rng(0).lognormal(3, 1, 3000), 1)
    features = {
        "rank": NumberFeature("price", Quantiles(50)),
        "bucket": NumberFeature("price", Quantiles(20)),
    }
    statistics = NumberStatistics.of(prices)
    features = {name: feature.fit(statistics) for name, feature in features.items()}
    schema = FeatureSchema(
        ("rank", "other"), (CategoricalFeature("bucket", 9),), transforms=features
    )
    transforms = NumberTransforms(schema)
    rounded = prices.astype(np.float32)
    cut = features["bucket"].buckets(rounded.astype(float))
    assert (cut != features["bucket"].buckets(prices)).any()  # without snapping
    floats = np.stack([rounded, rounded], axis=1)
    numbers = transforms.as_doubles(floats)
    np.testing.assert_array_equal(numbers[:, 1], rounded)
    buckets, _ = transforms.buckets(numbers)
    np.testing.assert_array_equal(buckets[:, 0], features["bucket"].buckets(prices))
    np.testing.assert_allclose(
        transforms.dense(numbers)[:, 0], features["rank"].dense(prices), atol=1e-6
    )
    missing = transforms.as_doubles(np.full((1, 2), np.nan, np.float32))
    assert np.isnan(missing).all()
