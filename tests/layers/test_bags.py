import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfdlrm.layers import EmbeddingCollection
from tfdlrm.layers.bags import index_columns

BAGS = st.lists(st.lists(st.sampled_from("abcde"), max_size=3), min_size=1, max_size=6)


@given(BAGS)
def test_columns_come_back(bags):
    assert index_columns([bags, bags]).to_columns() == [bags, bags]


def test_offsets_are_where_bags_begin():
    indexed = index_columns([[[5, 7], [], [7], None, 5]])
    assert indexed.indices[0].tolist() == [0, 1, 1, 0]
    assert indexed.offsets.tolist() == [[0, 2, 2, 3, 3]]
    assert indexed.vocabularies == [[5, 7]]
    assert indexed.vocabulary_sizes == [2]


def test_a_string_is_one_value():
    assert index_columns([["ab", "ba", "ab"]]).vocabularies == [["ab", "ba"]]


def test_the_vocabulary_of_training_is_kept():
    indexed = index_columns([["b", "c"]], vocabularies=[["a", "b", "c"]])
    assert indexed.indices[0].tolist() == [1, 2]
    with pytest.raises(ValueError, match="Row 1 holds 'z', which is not in"):
        index_columns([["b", "z"]], vocabularies=[["a", "b"]])


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"have \[1, 2\] rows"):
        index_columns([["a"], ["a", "b"]])


def test_an_embedding_collection_takes_them():
    indexed = index_columns([["x", "y"], [["a", "b"], []]])
    layer = EmbeddingCollection(indexed.vocabulary_sizes, embedding_dim=2)
    layer.build()
    layer.tables[0].assign(np.arange(8, dtype="float32").reshape(4, 2))
    vectors = layer((indexed.indices, indexed.offsets))
    assert vectors.numpy().tolist() == [[[0, 1], [10, 12]], [[2, 3], [0, 0]]]
