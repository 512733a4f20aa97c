"""Batches of several passes in one."""

import numpy as np
import tensorflow as tf

from tfdlrm.data.side_by_side import side_by_side


def a_pass(start, bags=None):
    ids = tf.range(start, start + 6)
    ids = tf.reshape(ids, (3, 2)) if bags is None else bags
    dense = tf.cast(tf.reshape(tf.range(start, start + 3), (3, 1)), tf.float32)
    features = {"dense_features": dense, "categorical_features": ids}
    return tf.data.Dataset.from_tensor_slices((features, dense)).batch(2)


def test_columns_follow_each_other_pass_by_pass():
    batches = side_by_side([a_pass(0), a_pass(100)])
    features, label = next(iter(batches))
    ids = [[0, 1, 100, 101], [2, 3, 102, 103]]
    np.testing.assert_array_equal(features["categorical_features"], ids)
    np.testing.assert_array_equal(features["dense_features"], [[0, 100], [1, 101]])
    np.testing.assert_array_equal(label, [[0, 100], [1, 101]])
    assert [len(label) for _, label in batches] == [2, 1]
    assert batches.cardinality() == 2


def test_bags_follow_each_other_and_keep_their_number():
    def bags(*rows):
        ragged = tf.ragged.constant(rows, ragged_rank=2, dtype=tf.int32)
        return tf.RaggedTensor.from_uniform_row_length(ragged.values, 2)

    first = bags([[1], []], [[2, 3], [4]], [[5], [6]])
    second = bags([[7, 8], [9]], [[], []], [[], [10]])
    batches = side_by_side([a_pass(0, first), a_pass(0, second)])
    ids = [features["categorical_features"] for features, _ in batches]
    assert [batch.to_list() for batch in ids] == [
        [[[1], [], [7, 8], [9]], [[2, 3], [4], [], []]],
        [[[5], [6], [], [10]]],
    ]
    assert batches.element_spec[0]["categorical_features"].shape[1] == 4


def test_one_pass_stays_as_it_is():
    batches = a_pass(0)
    assert side_by_side([batches]) is batches
