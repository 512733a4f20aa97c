import keras
import numpy as np
import pytest

from tests.support.small_models import inputs, random_model
from tfdlrm.base.errors import InputError
from tfdlrm.config.models import DLRMConfig
from tfdlrm.interop.facebook import from_keras
from tfdlrm.layers import BucketVectors

VALUES = np.array([[0.0, 0.49], [0.5, -0.01], [1e9, -1e9]], "float32")
BUCKETS = np.array([[4, 4], [5, 3], [7, 0]])  # of 8, of width 0.5; zero begins the 5th


def test_a_value_gets_the_vector_of_its_bucket_and_feature():
    layer = BucketVectors(dim=3, bucket_width=0.5, num_buckets=8)
    outputs = layer(VALUES)
    table = np.asarray(layer.embeddings.tables[0]).reshape(2, 8, 3)
    np.testing.assert_array_equal(outputs, table[np.arange(2), BUCKETS])
    assert np.abs(table).max() <= 0.01


def test_half_precision_does_not_move_a_value_to_another_bucket():
    layer = BucketVectors(dim=3, bucket_width=0.5, dtype="mixed_bfloat16")
    below = np.nextafter(np.float32(8.5), np.float32(0))
    vectors = layer(np.array([[below], [8.5], [8.0]], "float32"))
    assert vectors.dtype.name == "bfloat16"
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert np.any(vectors[0] != vectors[1])


def test_it_works_in_a_functional_model_and_is_saved(tmp_path):
    values = keras.Input((2,))
    model = keras.Model(values, BucketVectors(dim=3, num_buckets=8)(values))
    assert model.output_shape == (None, 2, 3)
    assert model.count_params() == 2 * 8 * 3
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(VALUES), model(VALUES))


@pytest.mark.parametrize("wrong", [{"bucket_width": 0}, {"num_buckets": 1}])
def test_impossible_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match="expected a width > 0 and two or more"):
        BucketVectors(dim=3, **wrong)


def test_in_a_dlrm_they_interact_with_all_other_vectors():
    config = DLRMConfig(
        embedding_dim=4,
        bottom_mlp_units=(8,),
        top_mlp_units=(),
        dense_bucket_width=0.5,
    )
    model, features = random_model(config), inputs()
    dense = features["dense_features"]
    bottom = np.asarray(model.bottom_mlp(dense), "float64")
    ids = model.embeddings(features["categorical_features"])
    vectors = np.concatenate([bottom[:, None], ids, model.bucket_vectors(dense)], 1)
    assert vectors.shape == (6, 1 + 3 + 3, 4)
    pairs = [vectors[:, i] * vectors[:, j] for i in range(7) for j in range(i)]
    top_inputs = np.hstack([bottom, np.stack(pairs, 1).sum(2)])
    (top_layer,) = model.top_mlp.dense_layers
    expected = top_inputs @ np.asarray(top_layer.kernel, "float64") + np.asarray(
        top_layer.bias
    )
    np.testing.assert_allclose(model(features), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="vectors for buckets of dense features"):
        from_keras(model)
