"""The numbers of the model against NumPy, for all combinations of features."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdlrm import optimizers
from tfdlrm.base.command_line import parse
from tfdlrm.config import TrainConfig
from tfdlrm.config.models import DLRMConfig
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.layers import MLP, DotInteraction, EmbeddingCollection
from tfdlrm.models import DLRM

# Criteo Kaggle's C1 to C26, as the reference implementation publishes them.
KAGGLE_VOCABULARY_SIZES = [
    1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194,
    27, 14992, 5461306, 10, 5652, 2173, 4, 7046547, 18, 15, 286181, 105, 142572,
]  # fmt: skip


def schema(num_dense, vocabulary_sizes):
    return FeatureSchema(
        dense_features=tuple(f"I{i + 1}" for i in range(num_dense)),
        categorical_features=tuple(
            CategoricalFeature(f"C{i + 1}", size)
            for i, size in enumerate(vocabulary_sizes)
        ),
    )


def inputs(batch=4):
    rng = np.random.default_rng(0)
    return {
        "dense_features": rng.normal(size=(batch, 3)).astype("float32"),
        "categorical_features": rng.integers(0, 5, (batch, 2)),
    }


def model_of(num_dense, sizes, **kwargs):
    config = DLRMConfig(
        embedding_dim=4, bottom_mlp_units=(8,), top_mlp_units=(8,), **kwargs
    )
    return DLRM.from_schema(schema(num_dense, sizes), config)


def small_model(**kwargs):
    return model_of(3, [5, 9], **kwargs)


@pytest.mark.slow
def test_the_articles_model_has_its_published_number_of_parameters():
    path = Path(__file__).parents[2] / "configs" / "criteo_kaggle.yaml"
    config = parse(TrainConfig, "tfdlrm.train", ["--config", str(path)])
    with tf.Graph().as_default():  # shapes without values: the tables take 2 GB
        model = DLRM.from_schema(schema(13, KAGGLE_VOCABULARY_SIZES), config.model)
        assert model.count_params() == 540_677_217


def test_logits_follow_from_the_parts():
    model = small_model()
    features = inputs()
    bottom = model.bottom_mlp(features["dense_features"])
    vectors = model.embeddings(features["categorical_features"])
    e0, e1 = vectors[:, 0], vectors[:, 1]
    pairs = [tf.reduce_sum(a * b, 1) for a, b in ((e0, bottom), (e1, bottom), (e1, e0))]
    expected = model.top_mlp(tf.concat([bottom, tf.stack(pairs, 1)], 1))
    np.testing.assert_allclose(model(features), expected, rtol=1e-5, atol=1e-6)


def test_self_interaction_widens_the_top_mlp():
    plain, wide = small_model(), small_model(self_interaction=True)
    assert plain.top_mlp.dense_layers[0].kernel.shape[0] == 4 + 3
    assert wide.top_mlp.dense_layers[0].kernel.shape[0] == 4 + 6


def test_round_trip(tmp_path):
    model = small_model(dropout=0.5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(inputs()), model(inputs()))


def test_logits_are_float32_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        logits = small_model()(inputs())
    finally:
        keras.config.set_dtype_policy("float32")
    assert logits.dtype == tf.float32


def test_different_widths_are_refused():
    model = DLRM(EmbeddingCollection([5, 9], 4), MLP([8]), DotInteraction(), MLP([1]))
    with pytest.raises(
        ValueError, match="ends at width 8, the embeddings have width 4"
    ):
        model(inputs())


def plain_mlp(mlp, values, final_relu):
    for position, layer in enumerate(mlp.dense_layers):
        kernel, bias = (np.asarray(w, np.float64) for w in (layer.kernel, layer.bias))
        values = values @ kernel + bias
        if final_relu or position < len(mlp.dense_layers) - 1:
            values = np.maximum(values, 0)
    return values


def plain_vectors(model, bags):
    """Return the sum of each bag's vectors; `bags` has ids by row and feature."""
    table = np.asarray(model.embeddings.tables[0], np.float64)
    starts = np.cumsum([0, *model.embeddings.vocabulary_sizes])
    return np.array(
        [
            [
                sum((table[start + i] for i in bag), np.zeros(4))
                for start, bag in zip(starts, row, strict=False)
            ]
            for row in bags
        ]
    )


def plain_pairs(vectors):
    rows, columns = np.tril_indices(vectors.shape[1], -1)
    return np.einsum("bpd,bpd->bp", vectors[:, rows], vectors[:, columns])


def test_without_dense_features_embeddings_interact_with_one_another():
    model = model_of(0, [5, 9, 3])
    ids = np.array([[1, 8, 0], [4, 0, 2]])
    vectors = plain_vectors(model, ids[..., None].tolist())
    expected = plain_mlp(model.top_mlp, plain_pairs(vectors), final_relu=False)
    features = {"dense_features": np.zeros((2, 0)), "categorical_features": ids}
    np.testing.assert_allclose(model(features), expected, rtol=1e-5, atol=1e-6)
    assert model.bottom_mlp is None
    assert model.count_params() == 17 * 4 + (3 * 8 + 8) + (8 + 1)


def test_a_single_embedding_goes_to_the_top_mlp_as_it_is():
    model = model_of(0, [5], self_interaction=True)
    ids = np.array([[1], [4]])
    vectors = plain_vectors(model, ids[..., None].tolist())[:, 0]
    features = {"dense_features": np.zeros((2, 0)), "categorical_features": ids}
    expected = plain_mlp(model.top_mlp, vectors, final_relu=False)
    np.testing.assert_allclose(model(features), expected, rtol=1e-5, atol=1e-6)


def test_without_categorical_features_the_mlps_are_left():
    model = model_of(3, [])
    dense = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    bottom = plain_mlp(model.bottom_mlp, dense.astype(np.float64), final_relu=True)
    expected = plain_mlp(model.top_mlp, bottom, final_relu=False)
    features = {"dense_features": dense, "categorical_features": np.zeros((4, 0), int)}
    np.testing.assert_allclose(model(features), expected, rtol=1e-4, atol=1e-6)
    assert model.embeddings is model.interaction is None


@pytest.mark.slow_variants
@pytest.mark.parametrize(("num_dense", "sizes"), [(0, [5, 9]), (0, [5]), (3, [])])
def test_models_of_one_kind_of_features_are_fitted_saved_and_told(
    num_dense, sizes, tmp_path, capsys
):
    model = model_of(num_dense, sizes)
    features = {
        "dense_features": np.ones((8, num_dense), "float32"),
        "categorical_features": np.ones((8, len(sizes)), "int64"),
    }
    model.compile(optimizers.Adagrad(0.1), keras.losses.BinaryCrossentropy(True))
    old_logits = model(features).numpy()
    data = tf.data.Dataset.from_tensors((features, np.ones((8, 1)))).repeat(3)
    model.fit(data, verbose=0)
    assert np.all(model(features).numpy() > old_logits)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(features), model(features))
    model.summary()
    assert "top_mlp" in capsys.readouterr().out


def test_ragged_and_padded_bags_give_what_numpy_does():
    model = model_of(2, [5, 9, 3])
    bags = [[[1], [8, 2, 8], []], [[0], [], [2, 1]]]
    dense = np.array([[0.5, -1], [2, 0]], np.float32)
    bottom = plain_mlp(model.bottom_mlp, dense.astype(np.float64), final_relu=True)
    vectors = np.concatenate([bottom[:, None], plain_vectors(model, bags)], 1)
    top = np.concatenate([bottom, plain_pairs(vectors)], 1)
    expected = plain_mlp(model.top_mlp, top, final_relu=False)
    padded = np.full((2, 3, 3), -1)
    for row, feature in np.ndindex(2, 3):
        bag = bags[row][feature]
        padded[row, feature, : len(bag)] = bag
    for ids in (tf.ragged.constant(bags, ragged_rank=2, dtype=tf.int32), padded):
        features = {"dense_features": dense, "categorical_features": ids}
        np.testing.assert_allclose(model(features), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("num_dense", "sizes"), [(3, [5, 9]), (0, [5, 9]), (3, [])])
def test_concatenation_gives_the_top_mlp_the_vectors_themselves(num_dense, sizes):
    model = model_of(num_dense, sizes, interaction="concatenate")
    dense = np.random.default_rng(0).normal(size=(2, num_dense)).astype("float32")
    ids = np.array([[1, 8], [4, 0]])[:, : len(sizes)]
    vectors = []
    if num_dense:
        vectors.append(plain_mlp(model.bottom_mlp, dense.astype(float), True))
    if sizes:
        vectors.append(plain_vectors(model, ids[..., None].tolist()).reshape(2, -1))
    expected = plain_mlp(model.top_mlp, np.hstack(vectors), final_relu=False)
    features = {"dense_features": dense, "categorical_features": ids}
    np.testing.assert_allclose(model(features), expected, rtol=1e-4, atol=1e-6)


def test_no_features_at_all_are_refused():
    with pytest.raises(ValueError, match="neither embeddings nor a bottom MLP"):
        DLRM(None, None, None, MLP([1]))
