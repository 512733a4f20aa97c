"""Bags of ids, in all their forms, against NumPy in float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfdlrm import optimizers
from tfdlrm.layers import MLP, DotInteraction, EmbeddingCollection
from tfdlrm.models import DLRM

SIZES = [5, 3, 7]
ROWS = st.lists(
    st.tuples(*(st.lists(st.integers(0, size - 1), max_size=4) for size in SIZES)),
    min_size=1,
    max_size=5,
)
VARIANTS = {
    "one width": {},
    "mixed widths": {"table_dims": [4, 2, 4]},
    "quotient-remainder": {"num_collisions": 2, "collision_threshold": 4},
    "both": {"table_dims": [2, 4, 3], "num_collisions": 2, "collision_threshold": 6},
}


def collection(variant="one width", **kwargs):
    keras.utils.set_random_seed(0)
    layer = EmbeddingCollection(SIZES, embedding_dim=4, **VARIANTS[variant], **kwargs)
    layer.build()
    return layer


def vector_of_each_id(layer):
    """Return for each feature the vectors `(size, 4)`, looked up one at a time."""
    result = []
    for feature, size in enumerate(SIZES):
        ids = np.zeros((size, 3), int)
        ids[:, feature] = np.arange(size)
        result.append(layer(ids).numpy()[:, feature].astype("float64"))
    return result


def weights_like(rows):
    rng = np.random.default_rng(0)
    return [[list(rng.uniform(0.5, 2, len(bag))) for bag in row] for row in rows]


def expected(layer, rows, weights, combiner):
    vectors = vector_of_each_id(layer)
    outputs = np.zeros((len(rows), 3, 4))
    for r, row in enumerate(rows):
        for f, bag in enumerate(row):
            if bag:
                w = np.array(weights[r][f])
                size = {"sum": 1, "mean": w.sum(), "sqrtn": np.sqrt((w**2).sum())}
                outputs[r, f] = (w @ vectors[f][bag]) / size[combiner]
    return outputs


def ragged(rows, dtype):
    return tf.RaggedTensor.from_nested_row_lengths(
        tf.constant([value for row in rows for bag in row for value in bag], dtype),
        [[3] * len(rows), [len(bag) for row in rows for bag in row]],
    )


def padded(rows, fill, dtype):
    width = max(1, max(len(bag) for row in rows for bag in row))
    filled = [[[*bag, *[fill] * (width - len(bag))] for bag in row] for row in rows]
    return np.array(filled, dtype)


def indices_and_offsets(rows, dtype):
    bags = [[row[f] for row in rows] for f in range(3)]
    indices = [np.array([v for bag in column for v in bag], dtype) for column in bags]
    lengths = np.array([[len(bag) for bag in column] for column in bags])
    return indices, np.cumsum(lengths, axis=1) - lengths


def inputs(layout, rows, weights):
    if layout == "ragged":
        return ragged(rows, tf.int64), ragged(weights, tf.float32)
    if layout == "padded":
        return padded(rows, -1, "int64"), padded(weights, 0, "float32")
    return indices_and_offsets(rows, "int64"), indices_and_offsets(weights, "f4")[0]


@pytest.mark.slow_variants
@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
@settings(max_examples=8, deadline=None)
@given(rows=ROWS)
def test_bags_are_combined(combiner, rows):
    layer = collection(combiner=combiner)
    weights = weights_like(rows)
    ones = [[[1.0] * len(bag) for bag in row] for row in rows]
    combined = expected(layer, rows, ones, combiner)
    weighted = expected(layer, rows, weights, combiner)
    for layout in ("ragged", "padded", "offsets"):
        ids, weights_of_ids = inputs(layout, rows, weights)
        for actual, expected_vectors in (
            (layer(ids), combined),
            (layer(ids, weights_of_ids), weighted),
        ):
            np.testing.assert_allclose(
                actual, expected_vectors, rtol=1e-5, atol=1e-6, err_msg=layout
            )


@pytest.mark.slow_variants
@pytest.mark.parametrize("layout", ["ragged", "padded", "offsets"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_table_takes_bags(layout, variant):
    rows = [([4, 4], [], [6]), ([0], [1, 2], []), ([], [], [3, 3, 0])]
    ones = [[[1.0] * len(bag) for bag in row] for row in rows]
    layer = collection(variant)
    ids, _ = inputs(layout, rows, ones)
    expected_vectors = expected(layer, rows, ones, "sum")
    np.testing.assert_allclose(layer(ids), expected_vectors, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        tf.function(layer)(ids), expected_vectors, rtol=1e-5, atol=1e-6
    )


def test_a_single_id_may_have_a_weight():
    layer = collection()
    ids, weights = np.array([[1, 2, 3]]), np.array([[2.0, 0.5, 1.0]])
    actual = layer(ids, weights)
    np.testing.assert_allclose(actual, layer(ids) * weights[..., None], rtol=1e-6)


def test_mixed_widths_are_projected():
    layer = collection("mixed widths")
    assert [table.shape for table in layer.tables] == [(12, 4), (3, 2)]
    (projection,) = (w for w in layer.weights if "projection" in w.name)
    table = layer.tables[1].numpy().astype("float64")
    vectors = layer(np.array([[0, 2, 0]]))
    expected_vectors = table[2] @ projection.numpy()[0]
    np.testing.assert_allclose(vectors[0, 1], expected_vectors, rtol=1e-5, atol=1e-7)


def test_quotients_and_remainders_share_rows():
    layer = EmbeddingCollection([1001], embedding_dim=2, num_collisions=10)
    layer.build()
    (table,) = layer.tables
    assert table.shape == (101 + 10, 2)
    values = table.numpy()
    vectors = layer(np.array([[0], [999], [1000]]))
    expected_vectors = values[[0, 99, 100]] * values[[101, 110, 101]]
    np.testing.assert_allclose(vectors[:, 0], expected_vectors, rtol=1e-6)


def test_the_vectors_of_shared_rows_differ():
    layer = EmbeddingCollection([50], embedding_dim=4, num_collisions=7)
    vectors = layer(np.arange(50)[:, None]).numpy()[:, 0]
    assert len(np.unique(vectors.round(6), axis=0)) == 50


@pytest.mark.parametrize("layout", ["ragged", "padded", "offsets"])
def test_the_gradient_sums_over_bags(layout):
    layer = collection()
    rows = [([4, 4], [], [6]), ([4], [1], [])]
    ids, _ = inputs(layout, rows, weights_like(rows))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(ids))
    gradient = tape.gradient(loss, layer.tables[0].value)
    assert isinstance(gradient, tf.IndexedSlices)
    dense = tf.convert_to_tensor(gradient).numpy()[:, 0]
    assert dense.tolist() == [0, 0, 0, 0, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]


def test_an_id_out_of_range_counts_as_absent():
    layer = collection(combiner="mean")
    with_bad = layer(tf.ragged.constant([[[1, 99], [-1], [0]]], ragged_rank=2))
    without = layer(tf.ragged.constant([[[1], [], [0]]], ragged_rank=2))
    np.testing.assert_array_equal(with_bad, without)
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected 0 to"):
        collection(validate_ids=True)(tf.ragged.constant([[[1, 99], [0], [0]]]))


def test_rows_with_another_number_of_features_are_refused():
    with pytest.raises(tf.errors.InvalidArgumentError, match="must have 3 features"):
        collection()(tf.ragged.constant([[[1], [2]], [[1], [2], [3]]]))
    with pytest.raises(ValueError, match="Got 2 sequences of indices"):
        collection()(([np.array([1])] * 2, np.zeros((2, 1), int)))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"table_dims": [4, 4]}, "expected 3 widths"),
        ({"num_collisions": 1}, "expected at least 2"),
        ({"combiner": "max"}, "expected 'sum', 'mean' or 'sqrtn'"),
    ],
)
def test_impossible_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingCollection(SIZES, 4, **kwargs)


@pytest.mark.parametrize("variant", VARIANTS)
def test_round_trip(variant, tmp_path):
    ids = keras.Input((3,), dtype="int64")
    model = keras.Model(ids, collection(variant, combiner="mean")(ids))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    rows = np.array([[4, 2, 6], [0, 1, 3]])
    np.testing.assert_array_equal(loaded(rows), model(rows))


def test_a_dlrm_is_fitted_to_ragged_rows():
    keras.utils.set_random_seed(0)
    model = DLRM(
        EmbeddingCollection([50, 40], 4),
        MLP([4], final_activation="relu"),
        DotInteraction(),
        MLP([8, 1]),
    )
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 4, 600 * 2)
    bags = tf.RaggedTensor.from_row_lengths(rng.integers(0, 40, lengths.sum()), lengths)
    ids = tf.RaggedTensor.from_uniform_row_length(bags, 2)
    labels = (lengths.reshape(600, 2)[:, :1] > 1).astype("float32")
    features = {
        "dense_features": rng.normal(size=(600, 3)).astype("float32"),
        "categorical_features": ids,
    }
    data = tf.data.Dataset.from_tensor_slices((features, labels)).batch(50)
    model.compile(
        optimizers.Adagrad(0.1), keras.losses.BinaryCrossentropy(from_logits=True)
    )
    history = model.fit(data, epochs=5, verbose=0, shuffle=False).history["loss"]
    assert history[-1] < 0.8 * history[0]


def test_a_training_step_never_reads_a_whole_table():
    model = DLRM(
        EmbeddingCollection([50, 40], 4),
        MLP([4], final_activation="relu"),
        DotInteraction(),
        MLP([8, 1]),
    )
    optimizer = optimizers.Adagrad(0.1)
    features = {
        "dense_features": tf.ones((2, 3)),
        "categorical_features": tf.constant([[1, 2], [3, 4]]),
    }

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(features))
        weights = model.trainable_variables
        optimizer.apply(tape.gradient(loss, weights), weights)

    step()
    graph = step.get_concrete_function().graph
    (table,) = model.embeddings.tables
    (handle,) = (i for v, i in graph.captures if v is table.value.handle)
    readers = {operation.type for operation in handle.consumers()}
    assert readers == {"ResourceGather", "ResourceSparseApplyAdagradV2"}


@pytest.mark.slow
def test_a_table_of_more_than_2_to_the_31_elements():
    num_rows = 2**27 + 3  # of 16 numbers each: 8.6 GB
    layer = EmbeddingCollection([num_rows - 2, 2], embedding_dim=16)
    layer.build()
    (table,) = layer.tables
    highest_ids = np.array([[num_rows - 3, 1]])
    old_vectors = layer(highest_ids).numpy()
    assert abs(old_vectors[0, 0]).max() <= 1 / np.sqrt(num_rows - 2)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(highest_ids))
    gradient = tape.gradient(loss, table.value)
    assert gradient.indices.numpy().tolist() == [num_rows - 3, num_rows - 1]
    optimizers.SGD(1.0).apply([gradient], [table])
    np.testing.assert_allclose(layer(highest_ids), old_vectors - 1, rtol=1e-6)
