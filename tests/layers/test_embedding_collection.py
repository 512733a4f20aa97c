import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdlrm.layers import EmbeddingCollection


def collection(**kwargs):
    layer = EmbeddingCollection([3, 2, 4], embedding_dim=2, **kwargs)
    layer.build((None, 3))
    layer.tables[0].assign(np.arange(18, dtype="float32").reshape(9, 2))
    return layer


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_each_feature_reads_its_own_table(dtype):
    vectors = collection()(np.array([[0, 0, 0], [2, 1, 3]], dtype))
    assert vectors.numpy().tolist() == [
        [[0, 1], [6, 7], [10, 11]],
        [[4, 5], [8, 9], [16, 17]],
    ]


def test_an_id_out_of_range_is_never_another_row():
    vectors = collection()(np.array([[3, -1, 4]]))
    assert vectors.numpy().tolist() == [[[0, 0]] * 3]


def test_an_id_out_of_range_teaches_no_row():
    layer = collection()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(np.array([[3, 0, 0]])))
    gradient = tf.convert_to_tensor(tape.gradient(loss, layer.tables[0].value)).numpy()
    assert gradient.sum(axis=1).tolist() == [0, 0, 0, 2, 0, 2, 0, 0, 0]


@pytest.mark.parametrize("compiled", [False, True])
def test_an_id_out_of_range_is_named_on_request(compiled):
    layer = collection(validate_ids=True)
    call = tf.function(layer) if compiled else layer
    assert call(tf.constant([[2, 1, 3]])).shape == (1, 3, 2)
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        call(tf.constant([[2, 1, 3], [0, 2, 0]]))
    assert "the id at [[1 1]] is [2], expected 0 to [1]" in str(error.value)


def test_the_gradient_names_the_rows_of_the_batch_only():
    layer = collection()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(np.array([[0, 1, 3], [0, 0, 3]])))
    gradient = tape.gradient(loss, layer.tables[0].value)
    assert isinstance(gradient, tf.IndexedSlices)
    assert sorted(gradient.indices.numpy()) == [0, 0, 3, 4, 8, 8]


def test_initial_values_are_uniform_by_table():
    layer = EmbeddingCollection([10_000, 100], embedding_dim=16)
    layer.build((None, 2))
    large, small = np.split(layer.tables[0].numpy(), [10_000])
    for table in (large, small):
        bound = np.sqrt(1 / len(table))
        assert abs(table).max() <= bound
        assert table.std() == pytest.approx(bound / np.sqrt(3), rel=0.05)


def test_works_in_a_functional_model_and_is_saved(tmp_path):
    ids = keras.Input((2,), dtype="int64")
    vectors = EmbeddingCollection(vocabulary_sizes=[10, 5], embedding_dim=4)(ids)
    model = keras.Model(ids, keras.layers.Flatten()(vectors))
    assert model.output_shape == (None, 8)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    rows = np.array([[9, 4], [0, 0], [3, 2]])
    np.testing.assert_array_equal(loaded(rows), model(rows))


def test_large_ids_survive_mixed_precision():
    layer = EmbeddingCollection([5_000], embedding_dim=1, dtype="mixed_bfloat16")
    layer.build((None, 1))
    layer.tables[0].assign(np.arange(5_000, dtype="float32")[:, None] % 7)
    ids = np.array([[4_999], [4_997]])  # bfloat16 would make both 4,992
    vectors = layer(ids)
    assert vectors.dtype == tf.bfloat16
    assert tf.cast(vectors, tf.float32).numpy().ravel().tolist() == [1, 6]


def test_float_ids_are_refused():
    with pytest.raises(ValueError, match="expected integers"):
        collection()(np.array([[0.0, 1.0, 2.0]], "float32"))


def test_a_wrong_number_of_features_is_refused():
    with pytest.raises(ValueError, match=r"\(1, 2\), expected \(batch, 3\)"):
        collection()(np.array([[0, 1]]))


@pytest.mark.parametrize(("sizes", "dim"), [([], 4), ([3, 0], 4), ([3], 0)])
def test_impossible_sizes_are_refused(sizes, dim):
    with pytest.raises(ValueError, match="expected one or more sizes"):
        EmbeddingCollection(sizes, dim)
