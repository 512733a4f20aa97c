"""Ids of a data set as a model of an earlier one has them."""

import numpy as np
import pytest
import tensorflow as tf

from tfdlrm.daily.data_set_scores import IdsOfModel
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.data.unknown_values import UnknownValues

# Of the 5 ids of `shop` in the model, value 3 was forgotten and id 3 taken again; the
# data set has new ids 5 and 6. `user` is unchanged.
SCHEMA = FeatureSchema(
    (), (CategoricalFeature("shop", 7), CategoricalFeature("user", 4))
)
CARRIED = {"shop": np.array([True, True, True, False, True]), "user": np.ones(4, bool)}


@pytest.fixture
def unknown():
    return UnknownValues(["shop", "user"])


def test_ids_that_a_model_does_not_have_are_unknown_to_it(unknown):
    convert = IdsOfModel(SCHEMA, CARRIED, [0, 0], unknown)
    ids = tf.constant([[0, 0], [1, 1], [2, 2], [3, 3], [4, 3], [5, 2], [6, 1]])
    converted = convert(tf.cast(ids, tf.int32)).numpy()
    assert converted[:, 0].tolist() == [0, 1, 2, 0, 4, 0, 0]
    np.testing.assert_array_equal(converted[:, 1], ids[:, 1])
    assert unknown.shares == {"shop": 4 / 7, "user": 1 / 7}


def test_bags_are_converted_column_by_column(unknown):
    convert = IdsOfModel(SCHEMA, CARRIED, [0, 0], unknown)
    bags = [[[3, 4, 6], []], [[], [3, 0]], [[2], [3]]]
    converted = convert(tf.ragged.constant(bags, dtype=tf.int32, ragged_rank=2))
    assert converted.to_list() == [[[0, 4, 0], []], [[], [3, 0]], [[2], [3]]]
    # An empty bag counts as one missing value.
    assert unknown.shares == {"shop": 2 / 5, "user": 1 / 4}


def test_a_model_may_give_unknown_values_the_id_of_another(unknown):
    schema = FeatureSchema((), SCHEMA.categorical_features, reserved_ids={})
    convert = IdsOfModel(schema, CARRIED, [4, 1], unknown)
    converted = convert(tf.constant([[0, 0], [5, 3], [3, 1]]))
    assert converted.numpy().tolist() == [[0, 0], [4, 3], [4, 1]]
    assert unknown.shares == {"shop": 2 / 3, "user": 0}
