"""Inputs that a layer was not built for, and what cannot be ids."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdlrm.layers import (
    MLP,
    BucketVectors,
    DenseVectors,
    DotInteraction,
    EmbeddingCollection,
    FeatureCross,
    LinearTerms,
)

ROWS = np.random.default_rng(0).random((2, 6, 4)).astype("float32")


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("number", [2, 4, 6])
def test_another_number_of_vectors_is_refused(number, as_list, training):
    layer = DotInteraction()
    layer(ROWS[:, :3])
    vectors = ROWS[:, :number]
    vectors = [*vectors.swapaxes(0, 1)] if as_list else vectors
    with pytest.raises(ValueError, match="it was built for 3 vectors"):
        layer(vectors, training=training)


def test_another_number_of_vectors_is_refused_where_a_model_is_made():
    layer = DotInteraction()
    layer(keras.Input((3, 4)))
    with pytest.raises(ValueError, match="it was built for 3 vectors"):
        layer(keras.Input((5, 4)))


def test_a_number_of_vectors_that_is_not_known_is_refused():
    layer = DotInteraction()
    layer(ROWS[:, :3])
    function = tf.function(layer, [tf.TensorSpec((None, None, 4), tf.float32)])
    with pytest.raises(ValueError, match="it was built for 3 vectors"):
        function(ROWS)


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize(
    "layer",
    [
        lambda: DenseVectors(4),
        lambda: BucketVectors(4),
        lambda: FeatureCross(),
        lambda: FeatureCross("vector"),
        lambda: MLP([2]),
        lambda: LinearTerms([]),
    ],
)
def test_another_number_of_values_is_refused(layer, width):
    layer = layer()
    layer(ROWS[:, 0, :3])
    for training in (False, True):
        arguments = {"training": training} if isinstance(layer, MLP) else {}
        with pytest.raises(ValueError, match=r"expected|incompatible"):
            layer(ROWS[:, 0, :width], **arguments)


def test_linear_terms_without_the_dense_features_they_had_are_refused():
    layer, ids = LinearTerms([5]), np.zeros((2, 1), "int64")
    layer(ROWS[:, 0, :3], ids)
    with pytest.raises(ValueError, match="it was built for 3 features"):
        layer(ROWS[:, 0, :0], ids)


def collection(**options):
    return EmbeddingCollection([5, 5], 2, **options)


FLOATS = [1.0, 1.9, -0.5, float("nan"), 2.0**24 + 1]


@pytest.mark.slow_variants
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("value", FLOATS)
def test_floats_are_no_ids(value, dtype):
    ids = tf.cast(np.full((3, 2), value), dtype)
    for batch in (
        ids,
        ids[..., None],
        tf.RaggedTensor.from_tensor(ids[..., None], ragged_rank=2),
        ([ids[:, 0], ids[:, 1]], np.tile(np.arange(3), (2, 1))),
    ):
        layer = collection()
        for call in (layer, tf.function(layer), tf.function(layer, jit_compile=True)):
            with pytest.raises(ValueError, match=f"have dtype {dtype}, expected"):
                call(batch)


def test_an_input_of_floats_is_refused_where_the_model_is_made():
    for dtype in ("float32", "float64"):
        with pytest.raises(ValueError, match=r'give keras.Input .* dtype="int64"'):
            collection()(keras.Input((2,), dtype=dtype))


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "int32", "uint32", "int64"]
)
def test_integers_of_every_width_are_ids(dtype):
    layer, ids = collection(), np.array([[4, 0], [1, 2]])
    np.testing.assert_array_equal(layer(ids.astype(dtype)), layer(ids))


@pytest.mark.parametrize(
    "call",
    [lambda f: f, tf.function, lambda f: tf.function(f, jit_compile=True)],
    ids=["eager", "graph", "xla"],
)
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_ids_out_of_range_have_vectors_of_zeros(dtype, call):
    layer = collection()
    layer.build()
    far = [np.iinfo(dtype).max, np.iinfo(dtype).min]
    if dtype == "int64":
        far += [2**32 + 1, -(2**32) + 1]  # which 32 bits would take for 1
    ids = np.array([[number, 1] for number in (-1, 5, *far)], dtype)
    actual = np.asarray(call(layer)(tf.constant(ids)))
    assert not actual[:, 0].any()
    assert actual[:, 1].all()


def columns(*shape):
    return [np.zeros(shape, "int64")] * 2


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([*columns(3), *columns(3)], "a list of 4 columns, expected 2"),
        ({"a": columns(3)[0]}, "a dict of 1 columns, expected 2"),
        (tf.sparse.from_dense(np.eye(2, dtype="int64")), "are a SparseTensor, which"),
        ((columns(3), np.zeros((2, 3))), "Got offsets of float64, expected integers"),
    ],
)
def test_ids_in_another_form_are_refused(ids, message):
    with pytest.raises(ValueError, match=message):
        collection()(ids)


def test_a_feature_without_any_id_may_be_an_empty_list_of_floats():
    layer, starts = collection(), np.zeros((2, 1), "int64")
    actual = layer(([np.array([3]), np.array([])], starts))
    assert not np.asarray(actual)[0, 1].any()
    assert np.asarray(actual)[0, 0].any()
