import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras

from tests.support.processes import run_command_line
from tfdlrm.base.errors import InputError
from tfdlrm.interop.tfrs import LegacyDotInteraction, to_keras

# Sorted by name they come in another order, as Criteo's C1, C10, C2 do.
SIZES = {"C1": 30, "C2": 7, "C10": 50}
DIM = 4


def ranking(
    interaction=None,
    size_threshold=None,
    final="sigmoid",
    concat_dense=True,
    combiners=("mean",) * 3,
):
    config = tf.tpu.experimental.embedding
    features = {
        name: config.FeatureConfig(
            config.TableConfig(size, DIM, name=name, combiner=combiner)
        )
        for (name, size), combiner in zip(SIZES.items(), combiners, strict=True)
    }
    embedding = tfrs.experimental.layers.embedding.PartialTPUEmbedding(
        features, optimizer=None, size_threshold=size_threshold
    )
    mlp = tfrs.layers.blocks.MLP
    return tfrs.experimental.models.Ranking(
        embedding,
        mlp([8, DIM], final_activation="relu"),
        interaction or tfrs.layers.feature_interaction.DotInteraction(),
        mlp([16, 1], final_activation=final),
        concat_dense=concat_dense,
    )


def batch(rows=64):
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(rows, 5)).astype("float32")
    ids = rng.integers(0, list(SIZES.values()), (rows, len(SIZES)))
    columns = {name: tf.constant(ids[:, i]) for i, name in enumerate(SIZES)}
    tfrs_inputs = {"dense_features": tf.constant(dense), "sparse_features": columns}
    return tfrs_inputs, {"dense_features": dense, "categorical_features": ids}


def train(model):
    """Return a model after a few steps, which have changed every weight."""
    tfrs_inputs, _ = batch()
    labels = np.random.default_rng(1).integers(0, 2, 64)
    model.compile(tf_keras.optimizers.legacy.SGD(1.0))
    data = tf.data.Dataset.from_tensors((tfrs_inputs, labels)).repeat(3)
    model.fit(data, verbose=0)
    return model


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"interaction": LegacyDotInteraction()},
        {"interaction": LegacyDotInteraction(self_interaction=True)},
        {"concat_dense": False},
        {"size_threshold": 20},
    ],
)
def test_the_converted_model_gives_the_same_probabilities(options):
    model = train(ranking(**options))
    tfrs_inputs, inputs = batch()
    converted = to_keras(model, list(SIZES))
    assert isinstance(converted, keras.Model)
    np.testing.assert_allclose(
        tf.sigmoid(converted(inputs))[:, 0], model(tfrs_inputs), rtol=1e-5, atol=1e-6
    )


@pytest.mark.slow_variants
@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
def test_bags_are_combined_as_there(combiner):
    rng = np.random.default_rng(0)
    model = ranking(size_threshold=0, combiners=[combiner] * 3)
    dense = rng.normal(size=(8, 5)).astype("float32")
    lengths = rng.integers(0, 4, (8, 3))
    lengths[0] = 0
    bags = [
        [
            rng.integers(0, size, n).tolist()
            for n, size in zip(row, SIZES.values(), strict=True)
        ]
        for row in lengths.tolist()
    ]
    columns = {
        name: tf.ragged.constant([row[i] for row in bags], dtype=tf.int64)
        for i, name in enumerate(SIZES)
    }
    expected = model({"dense_features": dense, "sparse_features": columns})
    inputs = {
        "dense_features": dense,
        "categorical_features": tf.ragged.constant(bags, dtype=tf.int64),
    }
    converted = to_keras(model, list(SIZES))
    np.testing.assert_allclose(
        tf.sigmoid(converted(inputs))[:, 0], expected, rtol=1e-5, atol=1e-6
    )


def test_several_combiners_are_refused():
    model = ranking(size_threshold=0, combiners=("mean", "sum", "sum"))
    model(batch()[0])
    with pytest.raises(InputError, match="the combiners mean, sum, expected one"):
        to_keras(model, list(SIZES))


@pytest.mark.parametrize("self_interaction", [False, True])
@pytest.mark.parametrize("skip_gather", [False, True])
def test_every_form_of_their_interaction_is_converted(self_interaction, skip_gather):
    layer = tfrs.layers.feature_interaction.DotInteraction(
        self_interaction, skip_gather
    )
    model = ranking(layer, final=None)
    tfrs_inputs, inputs = batch()
    expected = model(tfrs_inputs)
    logits = to_keras(model, list(SIZES))(inputs)[:, 0]
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("self_interaction", [False, True])
def test_the_legacy_layer_agrees_with_theirs(self_interaction):
    vectors = list(np.random.default_rng(0).normal(size=(4, 8, 3)).astype("float32"))
    tfrs_layer = tfrs.layers.feature_interaction.DotInteraction(self_interaction)
    legacy_layer = LegacyDotInteraction(self_interaction)
    np.testing.assert_allclose(
        legacy_layer(vectors), tfrs_layer(vectors), rtol=1e-6, atol=1e-6
    )


def test_the_legacy_layer_is_saved_with_a_model(tmp_path):
    inputs = [tf_keras.Input((3,)) for _ in range(4)]
    model = tf_keras.Model(inputs, LegacyDotInteraction(True)(inputs))
    assert model.output_shape == (None, 10)
    model.save(tmp_path / "model.keras")
    loaded = tf_keras.models.load_model(tmp_path / "model.keras")
    vectors = list(np.random.default_rng(0).normal(size=(4, 8, 3)).astype("float32"))
    np.testing.assert_array_equal(loaded(vectors), model(vectors))


def test_another_list_of_features_is_refused():
    model = ranking()
    model(batch()[0])
    with pytest.raises(InputError, match=r"feature_names is \['C1'\].*C1, C10, C2"):
        to_keras(model, ["C1"])


def test_a_model_without_weights_is_refused():
    with pytest.raises(InputError, match="has no weights yet"):
        to_keras(ranking(), list(SIZES))


def test_another_interaction_is_refused():
    model = ranking(tf_keras.layers.Concatenate())
    model(batch()[0])
    with pytest.raises(InputError, match="feature_interaction is Concatenate"):
        to_keras(model, list(SIZES))


@pytest.mark.slow
def test_a_process_on_keras_3_alone_is_told_what_to_set():
    result = run_command_line("python -c 'import tfdlrm.interop.tfrs'")
    assert result.returncode == 1
    assert "TF_USE_LEGACY_KERAS is not 1" in result.stderr.splitlines()[-1]
