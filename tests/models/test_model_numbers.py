"""The models other than the DLRM against NumPy in float64."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from tests.support.small_models import CONFIGS, exact, inputs, random_model, schema
from tfdlrm import optimizers
from tfdlrm.base.errors import InputError
from tfdlrm.config.model_columns import ignored_columns
from tfdlrm.config.models import FMConfig, MFConfig
from tfdlrm.models import build_model


def relu(values):
    return np.maximum(values, 0)


def mlp_in_float64(mlp, values, final=False, activation=relu):
    last_index = len(mlp.dense_layers) - 1
    for i, layer in enumerate(mlp.dense_layers):
        values = values @ exact(layer.kernel)
        if layer.bias is not None:
            values = values + exact(layer.bias)
        if mlp.normalization and i < last_index:
            values = normalized_in_float64(mlp.normalization_layers[i], values)
        if i < last_index or final:
            values = activation(values)
    return values


def normalized_in_float64(layer, values):
    """Normalize by the moving statistics or, without any, each row by its own."""
    if hasattr(layer, "moving_mean"):
        mean, variance = exact(layer.moving_mean), exact(layer.moving_variance)
    else:
        mean, variance = values.mean(1, keepdims=True), values.var(1, keepdims=True)
    values = (values - mean) / np.sqrt(variance + 1e-5)
    return values * exact(layer.gamma) + exact(layer.beta)


def parts_in_float64(model, features):
    """Return embeddings `(batch, features, dim)`, and these with the dense features."""
    table = exact(model.embeddings.tables[0])
    vectors = table[features["categorical_features"] + np.array([0, 5, 14])]
    flat = vectors.reshape(len(vectors), -1)
    return vectors, np.hstack([flat, exact(features["dense_features"])])


def fm_in_float64(model, features):
    """Return the sum over features and pairs, in loops, and all vectors."""
    vectors, _ = parts_in_float64(model, features)
    own = exact(model.dense_vectors.vectors)
    values = exact(features["dense_features"])
    vectors = np.hstack([values[..., None] * own, vectors])
    id_weights = exact(model.linear.id_weights.tables[0])[:, 0]
    ids = features["categorical_features"] + np.array([0, 5, 14])
    total = exact(model.linear.bias) + id_weights[ids].sum(axis=1)
    total += values @ exact(model.linear.dense_weights)[:, 0]
    for i in range(vectors.shape[1]):
        for j in range(i):
            total += (vectors[:, i] * vectors[:, j]).sum(axis=1)
    return total[:, None], vectors.reshape(len(vectors), -1)


def normalized_model(config, normalization):
    """Return a model with normalization and tanh, and variances that are positive."""
    model = random_model(
        replace(config, normalization=normalization, activation="tanh")
    )
    for weight in model.weights:
        if weight.name == "moving_variance":
            weight.assign(np.abs(weight) + 0.1)
    return model


@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_normalized_towers_of_a_dlrm(normalization):
    config = replace(CONFIGS["dlrm with buckets"], dense_bucket_width=None)
    model, features = normalized_model(config, normalization), inputs()
    dense = exact(features["dense_features"])
    bottom = mlp_in_float64(model.bottom_mlp, dense, True, np.tanh)
    vectors, _ = parts_in_float64(model, features)
    vectors = np.concatenate([bottom[:, None], vectors], axis=1)
    products = vectors @ vectors.transpose(0, 2, 1)
    pairs = products[:, *np.tril_indices(4, -1)]
    together = np.hstack([bottom, pairs])
    expected = mlp_in_float64(model.top_mlp, together, activation=np.tanh)
    np.testing.assert_allclose(model(features), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_normalized_towers_of_a_dcn(normalization):
    model, features = normalized_model(CONFIGS["dcn_v2"], normalization), inputs()
    _, x0 = parts_in_float64(model, features)
    crossed = x0
    for layer in model.cross_layers:
        product = crossed @ exact(layer.kernels[0])
        crossed = x0 * (product + exact(layer.bias)) + crossed
    deep = mlp_in_float64(model.deep_mlp, x0, True, np.tanh)
    expected = mlp_in_float64(model.head, np.hstack([crossed, deep]))
    np.testing.assert_allclose(model(features), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_normalized_towers_of_deepfm(normalization):
    model, features = normalized_model(CONFIGS["deepfm"], normalization), inputs()
    expected, flat = fm_in_float64(model, features)
    expected += mlp_in_float64(model.deep_mlp, flat, activation=np.tanh)
    np.testing.assert_allclose(model(features), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_normalized_towers_of_a_plain_mlp(normalization):
    model, features = normalized_model(CONFIGS["mlp"], normalization), inputs()
    _, flat = parts_in_float64(model, features)
    expected = mlp_in_float64(model.mlp, flat, activation=np.tanh)
    np.testing.assert_allclose(model(features), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["dcn", "dcn_v2", "dcn_v2 of low rank"])
def test_deep_and_cross_is_that_of_the_articles(name):
    model, features = random_model(CONFIGS[name]), inputs()
    _, x0 = parts_in_float64(model, features)
    crossed = x0
    for layer in model.cross_layers:
        product = crossed
        for kernel in layer.kernels:
            product = product @ exact(kernel)
        bias = exact(layer.bias)
        if layer.form == "vector":
            crossed = x0 * product + bias + crossed
        else:
            crossed = x0 * (product + bias) + crossed
    deep = mlp_in_float64(model.deep_mlp, x0, final=True)
    expected = mlp_in_float64(model.head, np.hstack([crossed, deep]))
    np.testing.assert_allclose(model(features), expected, rtol=1e-4, atol=1e-4)


def test_a_factorization_machine_is_that_of_the_article():
    model, features = random_model(CONFIGS["fm"]), inputs()
    expected, _ = fm_in_float64(model, features)
    np.testing.assert_allclose(model(features), expected, rtol=1e-4, atol=1e-5)


def test_deepfm_adds_a_tower_on_the_same_vectors():
    model, features = random_model(CONFIGS["deepfm"]), inputs()
    expected, flat = fm_in_float64(model, features)
    expected += mlp_in_float64(model.deep_mlp, flat)
    np.testing.assert_allclose(model(features), expected, rtol=1e-4, atol=1e-4)


def test_the_plain_mlp_takes_everything_side_by_side():
    model, features = random_model(CONFIGS["mlp"]), inputs()
    _, flat = parts_in_float64(model, features)
    expected = mlp_in_float64(model.mlp, flat)
    np.testing.assert_allclose(model(features), expected, rtol=1e-4, atol=1e-5)


def test_matrix_factorization_is_a_product_and_biases():
    model, features = random_model(CONFIGS["mf"]), inputs()
    table, biases = (
        exact(layer.tables[0]) for layer in (model.embeddings, model.biases.id_weights)
    )
    users = features["categorical_features"][:, 0]
    items = features["categorical_features"][:, 2] + 5  # C3's table stands below C1's
    expected = (table[users] * table[items]).sum(axis=1)
    expected += biases[users, 0] + biases[items, 0] + exact(model.biases.bias)
    np.testing.assert_allclose(model(features)[:, 0], expected, rtol=1e-5, atol=1e-6)


def test_matrix_factorization_says_what_it_ignores_and_does():
    config, features = CONFIGS["mf"], inputs()
    assert ignored_columns(schema(), config) == ["I1", "I2", "I3", "C2"]
    assert ignored_columns(schema(), FMConfig()) == []
    model = random_model(config)
    expected = model(features)
    features["dense_features"] += 1
    features["categorical_features"][:, 1] += 1
    np.testing.assert_array_equal(model(features), expected)


def test_matrix_factorization_finds_a_planted_matrix():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(30, 2)), rng.normal(size=(20, 2))
    biases = rng.normal(size=(30, 1)) + rng.normal(size=20) + 0.7
    matrix = users @ items.T + biases
    ids = np.argwhere(np.ones_like(matrix))
    ids = rng.permutation(ids)
    train_ids, test_ids = (
        ids[:480],
        ids[480:],
    )  # of 600 cells; 150 numbers decide them all
    model = build_model(schema(0, (30, 20)), MFConfig("C1", "C2", embedding_dim=2))
    model.compile(optimizers.Adagrad(learning_rate=0.5), "mse")

    def rows(cells):
        return {
            "dense_features": np.zeros((len(cells), 0), "float32"),
            "categorical_features": cells,
        }

    for _ in range(400):
        model.train_on_batch(rows(train_ids), matrix[*train_ids.T][:, None])
    errors = model(rows(test_ids))[:, 0] - matrix[*test_ids.T]
    assert np.sqrt(np.mean(errors**2)) < 0.02 * matrix.std()


@pytest.mark.parametrize(
    ("user", "item", "message"),
    [
        ("C1", "C9", "item is 'C9', expected a categorical column of the data set: C1"),
        ("I1", "C1", "user is 'I1'"),
    ],
)
def test_matrix_factorization_refuses_columns_that_are_not_there(user, item, message):
    with pytest.raises(InputError, match=message):
        ignored_columns(schema(), MFConfig(user, item))
    with pytest.raises(InputError, match=message):
        build_model(schema(), MFConfig(user, item))


def test_matrix_factorization_needs_two_columns():
    with pytest.raises(InputError, match="expected another column than user"):
        MFConfig("C1", "C1")


EVERY_TABLE = [config for config in CONFIGS.values() if hasattr(config, "embedding_l2")]


@pytest.mark.parametrize("config", EVERY_TABLE, ids=lambda config: config.name)
def test_embedding_l2_is_of_the_vectors_that_a_row_looks_up(config):
    config = replace(config, embedding_l2=0.25)
    model, features = random_model(config), inputs()
    ids = features["categorical_features"]
    if isinstance(config, MFConfig):
        ids = ids[:, [0, 2]]
    squares = np.square(exact(model.embeddings(ids))).sum((1, 2))
    model(features, training=True)
    assert exact(sum(model.losses)) == pytest.approx(0.25 * squares.mean(), rel=1e-5)


def test_embedding_l2_pulls_at_the_rows_of_the_batch_and_no_others():
    model = random_model(FMConfig(embedding_dim=4, embedding_l2=0.25))
    model.compile(optimizers.SGD(learning_rate=0.5), lambda labels, logits: 0 * logits)
    (table,) = model.embeddings.tables
    old_logits = exact(table)
    features = inputs(batch=2)
    features["categorical_features"] = np.array([[1, 2, 3], [1, 0, 3]])
    model.train_on_batch(features, np.zeros((2, 1)))
    # Each lookup of a row adds 2 * 0.25 of it, over 2 rows of the batch.
    times = np.zeros((18, 1))
    times[[1, 14 + 3]] = 2
    times[[5 + 2, 5 + 0]] = 1
    np.testing.assert_allclose(table, old_logits * (1 - 0.5 * times / 4), rtol=1e-6)


@pytest.mark.parametrize("config", EVERY_TABLE, ids=lambda config: config.name)
def test_initial_vectors_are_as_small_as_is_said(config):
    config = replace(config, initial_bound=1e-3)
    (table,) = build_model(schema(), config).embeddings.tables
    assert 0.8e-3 < np.abs(exact(table)).max() <= 1e-3
