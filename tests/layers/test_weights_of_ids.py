"""Weights of ids, one for each, and inputs that are refused in their place."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdlrm.layers import BucketVectors, EmbeddingCollection, FeatureCross, LinearTerms

PADDED = np.array([[[1, 2, 0], [0, 1, -1]]])
RAGGED = tf.ragged.constant([[[1, 2, 0], [0, 1]]])
LISTED = ([np.array([1, 2, 0]), np.array([0, 1])], np.array([[0], [0]]))
SINGLE = np.array([[1, 2], [0, 1], [3, 0]])


def _layer():
    layer = EmbeddingCollection([4, 3], 1)
    layer.build()
    layer.tables[0].assign(np.arange(1, 8, dtype="float32")[:, None])
    return layer


@pytest.mark.slow_variants
@pytest.mark.parametrize("is_graph", [False, True])
@pytest.mark.parametrize(
    ("ids", "weights"),
    [
        (PADDED, np.array([[[1, 2, 3], [4, 5, 6]]], "float32")),
        (RAGGED, tf.ragged.constant([[[1.0, 2.0, 3.0], [4.0, 5.0]]])),
        (RAGGED, tf.ragged.constant([[[1, 2, 3], [4, 5]]], row_splits_dtype="int32")),
        (LISTED, [np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0])]),
        (LISTED, [np.array([1, 2, 3]), np.array([4.0, 5.0])]),
    ],
)
def test_each_id_has_its_weight(ids, weights, is_graph):
    layer = _layer()
    call = tf.function(lambda *arguments: layer(*arguments)) if is_graph else layer
    # Feature 0: 2 + 2 * 3 + 3 * 1. Feature 1: 4 * 5 + 5 * 6.
    assert call(ids, weights).numpy().ravel().tolist() == [11, 50]


@pytest.mark.slow_variants
@pytest.mark.parametrize("is_graph", [False, True])
@pytest.mark.parametrize(
    ("ids", "weights"),
    [
        (SINGLE, np.ones((2, 3), "float32")),
        (SINGLE, np.ones((1, 6), "float32")),
        (SINGLE, np.ones((3, 2, 1), "float32")),
        (PADDED, np.ones((1, 3, 2), "float32")),
        (PADDED, np.ones((1, 6), "float32")),
        (PADDED, np.ones((1, 2), "float32")),
        (PADDED, tf.ragged.constant([[[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]])),
        (RAGGED, np.ones((1, 2, 3), "float32")),
        (RAGGED, tf.ragged.constant([[[1.0], [1.0, 1.0, 1.0, 1.0]]])),
        (RAGGED, tf.ragged.constant([[[1.0, 1.0, 1.0, 1.0], [1.0, 1.0]]])),
        (RAGGED, tf.ragged.constant([[[1.0, 1.0, 1.0]], [[1.0, 1.0]]])),
        (LISTED, [np.ones(2, "float32"), np.ones(3, "float32")]),
        (LISTED, [np.ones(3, "float32"), np.ones(3, "float32")]),
        (LISTED, [np.ones(5, "float32")]),
        (LISTED, np.ones(5, "float32")),
    ],
)
def test_weights_in_another_arrangement_are_refused(ids, weights, is_graph):
    layer = _layer()
    call = tf.function(lambda *arguments: layer(*arguments)) if is_graph else layer
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="weights"):
        call(ids, weights)


def test_a_graph_that_knows_no_sizes_checks_them_as_it_runs():
    layer = _layer()
    sides = tf.TensorSpec((None, 2, None), tf.int64), tf.TensorSpec((None, None, None))
    call = tf.function(lambda ids, weights: layer(ids, weights), sides)
    with pytest.raises(tf.errors.InvalidArgumentError, match="one weight for each id"):
        call(PADDED, np.ones((1, 3, 2), "float32"))


@pytest.mark.parametrize("shape", [(1, 4), (4,), (2, 1, 4)])
@pytest.mark.parametrize("weight_form", ["matrix", "vector"])
def test_a_cross_of_other_rows_is_refused(weight_form, shape):
    layer = FeatureCross(weight_form)
    layer(np.ones((2, 4), "float32"))
    with pytest.raises(ValueError, match="expected the same"):
        layer(np.ones((2, 4), "float32"), np.ones(shape, "float32"))


@pytest.mark.parametrize("shape", [(4,), (2, 4, 4)])
@pytest.mark.parametrize("layer", [LinearTerms([]), BucketVectors(2)])
def test_values_that_are_no_rows_of_features_are_refused(layer, shape):
    layer(np.ones((2, 4), "float32"))
    with pytest.raises(ValueError, match=r"expected \(batch, "):
        layer(np.ones(shape, "float32"))


def test_buckets_of_unknown_features_are_refused():
    with pytest.raises(ValueError, match="a fixed number of features"):
        BucketVectors(2)(keras.Input((None,)))


def test_whole_numbers_have_buckets():
    layer = BucketVectors(2, bucket_width=1.0)
    floats = layer(np.array([[0.0, 3.0]], "float32")).numpy()
    np.testing.assert_array_equal(layer(np.array([[0, 3]])), floats)
