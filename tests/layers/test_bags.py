import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfdlrm.layers import MLP, DotInteraction, EmbeddingCollection
from tfdlrm.layers.bags import index_columns
from tfdlrm.models import DLRM
from tfdlrm.optimizers import SGD

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


def test_values_that_training_lacked_have_the_id_of_unknown_ones():
    training = index_columns([["a", "b"], [["x"], ["x", "y"]]], unknown=True)
    assert training.vocabularies == [[None, "a", "b"], [None, "x", "y"]]
    new_rows = [["b", "z", None], [["w", "y"], [], ["x"]]]
    for indexed in (
        index_columns(new_rows, training.vocabularies),
        index_columns(new_rows, [["a", "b"], ["x", "y"]], unknown=True),
        index_columns(new_rows, training.vocabularies, unknown=True),
    ):
        assert indexed.to_ragged().to_list() == [[[2], [0, 2]], [[0], []], [[], [1]]]
        assert indexed.vocabularies == training.vocabularies
    last = index_columns([["z", "a"]], [["a", None]])
    assert last.indices[0].tolist() == [1, 0]


def test_a_value_that_cannot_be_looked_up_is_refused_among_unknown_ones():
    with pytest.raises(ValueError, match=r"[Rr]ow 0 holds"):
        index_columns([[[["a"]]]], [["a"]], unknown=True)
    with pytest.raises(ValueError, match="has None at position 0 and at 1"):
        index_columns([["a"]], [[None, None]], unknown=True)


@given(BAGS)
def test_ragged_ids_are_those_of_the_columns(bags):
    indexed = index_columns([bags, bags[::-1]])
    values = indexed.vocabularies
    rows = [
        [[values[column][id_] for id_ in bag] for column, bag in enumerate(row)]
        for row in indexed.to_ragged().to_list()
    ]
    assert rows == [list(row) for row in zip(bags, bags[::-1], strict=True)]


def test_no_rows_are_a_ragged_tensor_of_none():
    ragged = index_columns([[], []]).to_ragged()
    assert ragged.shape.as_list() == [0, 2, None]


@pytest.mark.slow
def test_a_fit_takes_ragged_ids():
    indexed = index_columns([["x", "y", "x"], [["a", "b"], [], ["a"]]], unknown=True)
    model = DLRM(
        embeddings=EmbeddingCollection(indexed.vocabulary_sizes, embedding_dim=2),
        bottom_mlp=MLP([2]),
        interaction=DotInteraction(),
        top_mlp=MLP([1]),
    )
    model.compile(optimizer=SGD(0.1), loss="mse")
    features = {
        "dense_features": np.ones((3, 1), np.float32),
        "categorical_features": indexed.to_ragged(),
    }
    history = model.fit(features, np.ones((3, 1)), batch_size=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
