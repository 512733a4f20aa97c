"""Ids as one tensor a feature, and what Keras' `Embedding` has besides."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tfdlrm.layers import EmbeddingCollection, LinearTerms
from tfdlrm.layers.table_placement import tables_on
from tfdlrm.models import MatrixFactorization

SIZES, NAMES = [10, 20, 5], ["user", "item", "genres"]
USER, ITEM = np.array([1, 2]), np.array([[3], [4]])
RAGGED = tf.ragged.constant([[1, 2], []], dtype=tf.int64)
PADDED = np.array([[1, 2], [-1, -1]])


def collection(**options):
    return EmbeddingCollection(SIZES, 4, **options)


def expected_vectors(layer):
    tables = [layer.table(feature) for feature in range(3)]
    return np.stack(
        [
            [tables[0][1], tables[1][3], tables[2][1] + tables[2][2]],
            [tables[0][2], tables[1][4], np.zeros(4)],
        ]
    )


@pytest.mark.slow_variants
@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("genres", [RAGGED, PADDED], ids=["ragged", "padded"])
def test_columns_are_read_by_order_in_a_list_and_by_name_in_a_dictionary(genres, dtype):
    layer = collection(feature_names=NAMES)
    user = USER.astype(dtype)
    for columns in (
        [user, ITEM, genres],
        (user, ITEM, genres),
        {"genres": genres, "item": pd.Series(ITEM[:, 0]), "user": pd.Series(user)},
    ):
        vectors = layer(columns)
        np.testing.assert_allclose(vectors, expected_vectors(layer), rtol=1e-6)


def test_columns_of_one_id_each_equal_one_tensor():
    layer = collection()
    ids = np.array([[1, 3, 0], [2, 99, -1]])  # one absent, one padding
    np.testing.assert_array_equal(layer([*ids.T]), layer(ids))
    np.testing.assert_array_equal(layer([*ids.T[:, :, None]]), layer(ids))


def test_ragged_columns_may_have_splits_of_different_types():
    layer = collection()
    narrow = RAGGED.with_row_splits_dtype(tf.int32)
    actual = layer([tf.expand_dims(tf.constant(USER), 1), narrow, RAGGED])
    expected = layer([USER, RAGGED, RAGGED])
    np.testing.assert_array_equal(actual, expected)


def test_a_dictionary_without_names_is_read_by_order_once_and_then_by_name():
    layer = collection()
    first = layer({"user": USER, "item": ITEM, "genres": RAGGED})
    np.testing.assert_allclose(first, expected_vectors(layer), rtol=1e-6)
    again = layer({"genres": RAGGED, "user": USER, "item": ITEM})
    np.testing.assert_array_equal(again, first)
    loaded = EmbeddingCollection.from_config(layer.get_config())
    assert loaded.feature_names == NAMES


def test_weights_come_in_columns_too():
    layer = collection(feature_names=NAMES)
    weights = {"genres": tf.ragged.constant([[0.5, 3.0], []]), "user": np.full(2, 2.0)}
    weights["item"] = np.full((2, 1), -1.0)
    vectors = layer({"user": USER, "item": ITEM, "genres": RAGGED}, weights)
    tables = [layer.table(feature) for feature in range(3)]
    expected = [2 * tables[0][1], -tables[1][3], 0.5 * tables[2][1] + 3 * tables[2][2]]
    np.testing.assert_allclose(vectors[0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ({"user": USER, "item": ITEM}, "genres is missing"),
        ({"user": USER, "item": ITEM, "x": ITEM}, "genres is missing; x is unknown"),
        ([USER, ITEM], "a list of 2 columns, expected 3: one for each vocabulary"),
        ([USER, ITEM, PADDED.astype("float32")], "have dtype float32, expected int"),
        ([USER[:1], ITEM, PADDED], r"columns of \[1, 2\] rows, expected the same"),
        ([USER, ITEM, PADDED[..., None]], r"a column of shape \(2, 2, 1\), expected"),
    ],
)
def test_columns_that_do_not_fit_are_refused(ids, message):
    with pytest.raises(ValueError, match=message):
        collection(feature_names=NAMES)(ids)


def test_weights_in_another_form_than_the_columns_are_refused():
    with pytest.raises(ValueError, match="weights in the form of the ids"):
        collection()([USER, ITEM, PADDED], np.ones((2, 3)))


@pytest.mark.parametrize("names", [["a", "b"], ["a", "a", "b"]])
def test_names_that_are_not_one_a_feature_are_refused(names):
    with pytest.raises(ValueError, match="expected 3 different names"):
        collection(feature_names=names)


@pytest.mark.slow
def test_a_functional_model_of_columns_is_trained_saved_and_exported(tmp_path):
    inputs = {
        "user": keras.Input((), dtype="int64", name="user"),
        "item": keras.Input((1,), dtype="int64", name="item"),
        "genres": keras.Input((None,), dtype="int64", name="genres"),
    }
    vectors = collection()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(vectors)))
    model.compile("sgd", "mse")
    columns = {"genres": PADDED, "user": USER, "item": ITEM}
    model.fit(columns, np.ones((2, 1)), verbose=0)
    outputs = model.predict(columns, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.predict(columns, verbose=0), outputs)
    model.export(tmp_path / "m", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "m"))
    tensors = {name: tf.constant(values) for name, values in columns.items()}
    np.testing.assert_allclose(served.serve(tensors), outputs, rtol=1e-5)


def test_a_matrix_factorization_takes_columns_by_position_only():
    model = MatrixFactorization(
        EmbeddingCollection([10, 5], 4), LinearTerms([10, 5]), (0, 2)
    )
    dense, ids = np.ones((2, 1), "float32"), np.array([[1, 99, 4], [2, 99, 0]])
    inputs = {"dense_features": dense, "categorical_features": [*ids.T]}
    expected = model({**inputs, "categorical_features": ids})
    np.testing.assert_array_equal(model(inputs), expected)
    by_name = dict(zip(NAMES, ids.T, strict=True))
    with pytest.raises(ValueError, match="two of them by position"):
        model({**inputs, "categorical_features": by_name})


def test_initializers_draw_each_table_by_itself():
    layer = EmbeddingCollection(
        [1_000, 1_000, 10],
        8,
        embeddings_initializer=keras.initializers.RandomNormal(stddev=0.5, seed=3),
    )
    layer.build()
    tables = [layer.table(feature) for feature in range(3)]
    assert tables[0].std() == pytest.approx(0.5, rel=0.05)
    assert abs(np.corrcoef(tables[0].ravel(), tables[1].ravel())[0, 1]) < 0.05
    glorot = EmbeddingCollection([1_000, 10], 8, embeddings_initializer="glorot_normal")
    glorot.build()  # its spread depends on the size of a table
    deviations = [glorot.table(feature).std() for feature in range(2)]
    assert deviations[0] < deviations[1] / 2
    with pytest.raises(ValueError, match="expected one of them"):
        EmbeddingCollection([3], 2, initial_bound=0.1, embeddings_initializer="zeros")


BATCHES = {
    "single": np.array([[1, 0, 3], [1, 2, 99]]),  # row 1 twice, one id absent
    "padded": np.array([[[1, 1], [0, -1], [3, -1]], [[-1, -1], [2, -1], [99, -1]]]),
    "columns": [np.array([1, 1]), np.array([0, 2]), PADDED + 2],
}


@pytest.mark.parametrize("batch", BATCHES)
def test_the_regularizer_counts_each_row_of_the_batch_once(batch):
    layer = collection(embeddings_regularizer=keras.regularizers.L2(0.5))
    with tf.GradientTape() as tape:
        layer(BATCHES[batch])
        (penalty,) = layer.losses
    tables = [layer.table(feature) for feature in range(3)]
    genres = tables[2][[3]] if batch != "columns" else tables[2][[1, 3, 4]]
    rows = [tables[0][[1]], tables[1][[0, 2]], genres]
    expected = 0.5 * sum((part.astype("float64") ** 2).sum() for part in rows)
    assert float(penalty) == pytest.approx(expected, rel=1e-5)
    gradient = tape.gradient(penalty, layer.tables[0].value)
    assert isinstance(gradient, tf.IndexedSlices)
    gradient = tf.convert_to_tensor(gradient).numpy()
    assert np.flatnonzero(gradient.any(axis=1)).tolist()[:3] == [1, 10, 12]


def test_the_regularizer_is_part_of_the_loss_and_pulls_rows_of_the_batch_only():
    ids = keras.Input((3,), dtype="int64")
    layer = collection(embeddings_regularizer="l2")
    model = keras.Model(ids, layer(ids))
    model.compile("sgd", loss=lambda labels, outputs: 0 * keras.ops.sum(outputs))
    before = layer.tables[0].numpy()
    model.fit(BATCHES["single"][:1], np.zeros((1, 3, 4)), verbose=0)
    changed = (layer.tables[0].numpy() != before).any(axis=1)
    assert np.flatnonzero(changed).tolist() == [1, 10, 33]


def test_the_table_of_a_feature_is_what_the_layer_returns():
    layer = EmbeddingCollection(
        [7, 4], 4, table_dims=[4, 2], num_collisions=3, collision_threshold=5
    )
    layer.build()
    for feature, size in enumerate([7, 4]):
        ids = np.zeros((size, 2), "int64")
        ids[:, feature] = np.arange(size)
        actual = layer.table(feature)
        np.testing.assert_allclose(actual, layer(ids)[:, feature], rtol=1e-6)
    with pytest.raises(ValueError, match=r"read them by table\(\)"):
        layer.table_rows(0)


def test_the_rows_of_a_feature_can_be_replaced_in_the_fused_variable():
    layer = collection(feature_names=NAMES)
    layer.build()
    variable, rows = layer.table_rows("item")
    values = variable.numpy()
    values[rows] = 7
    variable.assign(values)
    assert (layer.table("item") == 7).all()
    assert not (layer.table("user") == 7).any()


@pytest.mark.parametrize("feature", ["none", 3, -1])
def test_a_feature_that_is_not_there_is_refused(feature):
    layer = collection(feature_names=NAMES)
    with pytest.raises(ValueError, match="before it is built"):
        layer.table(feature)
    layer.build()
    with pytest.raises(ValueError, match=r"expected 0 to 2, or one of \['user'"):
        layer.table(feature)


def test_the_table_of_a_feature_is_read_from_several_devices():
    with tables_on(["CPU:0", "CPU:1"]):
        layer = EmbeddingCollection([50, 40], 4)
        layer.build()
    ids = np.stack([np.arange(40)] * 2, axis=1)
    np.testing.assert_allclose(layer.table(1), layer(ids)[:, 1], rtol=1e-6)
    with pytest.raises(ValueError, match="or lie on several devices"):
        layer.table_rows(1)
