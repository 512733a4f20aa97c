import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfdlrm.layers import DenseVectors, FactorizationMachine, LinearTerms


def vectors(batch=5, n=4, dim=3):
    return np.random.default_rng(0).normal(size=(batch, n, dim)).astype("float32")


def pairwise_sum(vectors):
    """Return the sum by its definition, in float64 loops."""
    exact = vectors.astype("float64")
    return np.array(
        [
            [sum(row[i] @ row[j] for i in range(len(row)) for j in range(i))]
            for row in exact
        ]
    )


@settings(max_examples=20, deadline=None)
@given(batch=st.integers(1, 4), n=st.integers(1, 8), dim=st.integers(1, 5))
def test_linear_time_gives_the_sum_over_pairs(batch, n, dim):
    inputs = vectors(batch, n, dim)
    outputs = FactorizationMachine()(inputs)
    np.testing.assert_allclose(outputs, pairwise_sum(inputs), rtol=1e-4, atol=1e-5)


def test_a_list_and_a_stack_give_the_same():
    listed = FactorizationMachine()(list(np.moveaxis(vectors(), 1, 0)))
    np.testing.assert_array_equal(FactorizationMachine()(vectors()), listed)


def test_mixed_precision_does_not_cancel():
    inputs = vectors(n=40) + 3  # squares that are large next to their difference
    rounded = keras.ops.convert_to_numpy(
        keras.ops.cast(keras.ops.cast(inputs, "bfloat16"), "float32")
    )
    outputs = FactorizationMachine(dtype="mixed_bfloat16")(inputs)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    np.testing.assert_allclose(
        keras.ops.cast(outputs, "float32"), pairwise_sum(rounded), rtol=2**-8
    )


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"expected \(batch, n, dim\)"):
        FactorizationMachine()(np.ones((2, 3), "float32"))


def test_dense_vectors_are_scaled_by_their_values():
    layer = DenseVectors(dim=2)
    values = np.array([[2.0, 0.0, -1.0]], "float32")
    outputs = layer(values)
    np.testing.assert_allclose(outputs[0], layer.vectors * values[0][:, None])
    with pytest.raises(ValueError, match="expected a width"):
        DenseVectors(dim=0)


@pytest.mark.parametrize(("num_dense", "sizes"), [(2, [3, 5]), (2, []), (0, [3, 5])])
def test_linear_terms_are_those_of_the_definition(num_dense, sizes):
    rng = np.random.default_rng(0)
    layer = LinearTerms(sizes)
    dense = rng.normal(size=(4, num_dense)).astype("float32")
    ids = rng.integers(0, 3, (4, len(sizes)))
    assert not np.any(layer(dense, ids))
    layer.bias.assign([0.5])
    expected = np.full((4, 1), 0.5)
    if num_dense:
        weights = rng.normal(size=(num_dense, 1)).astype("float32")
        layer.dense_weights.assign(weights)
        expected += dense @ weights
    if sizes:
        table = rng.normal(size=(8, 1)).astype("float32")
        layer.id_weights.tables[0].assign(table)
        expected += table[ids[:, :1], 0] + table[3 + ids[:, 1:], 0]
    np.testing.assert_allclose(layer(dense, ids), expected, rtol=1e-5, atol=1e-6)
    assert layer.count_params() == 1 + num_dense + sum(sizes)


def test_linear_terms_of_nothing_are_refused():
    with pytest.raises(ValueError, match="got no features"):
        LinearTerms([])(np.ones((2, 0), "float32"))


def test_the_layers_work_in_a_functional_model_and_are_saved(tmp_path):
    dense, ids = keras.Input((3,)), keras.Input((2,), dtype="int64")
    products = FactorizationMachine()(DenseVectors(dim=4)(dense))
    outputs = keras.layers.Add()([LinearTerms([9, 5])(dense, ids), products])
    model = keras.Model([dense, ids], outputs)
    assert model.output_shape == (None, 1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    rows = [np.ones((2, 3), "float32"), np.array([[8, 4], [0, 1]])]
    np.testing.assert_array_equal(loaded(rows), model(rows))
