import keras
import keras_rs
import numpy as np
import pytest

from tfdlrm.layers import FeatureCross


def features(seed=0, batch=5, dim=4):
    return np.random.default_rng(seed).normal(size=(batch, dim)).astype("float32")


def random_cross(layer):
    """Build a layer, and return it with a bias that is not 0."""
    layer.build((None, 4))
    layer.bias.assign(features(seed=9, batch=1)[0])
    return layer


def test_the_vector_form_is_that_of_the_article():
    layer = random_cross(FeatureCross("vector"))
    x0, x = features(0).astype("float64"), features(1).astype("float64")
    w, b = layer.kernels[0].numpy()[:, 0], layer.bias.numpy()
    expected = np.array([a * (c @ w) + b + c for a, c in zip(x0, x, strict=True)])
    np.testing.assert_allclose(layer(x0, x), expected, rtol=1e-5, atol=1e-6)
    assert layer.count_params() == 4 + 4


@pytest.mark.parametrize("rank", [None, 2])
def test_the_matrix_form_agrees_with_keras_rs(rank):
    layer = random_cross(FeatureCross(rank=rank))
    peer = keras_rs.layers.FeatureCross(projection_dim=rank)
    peer.build((None, 4))
    peer(features())
    dense = [peer.dense] if rank is None else [peer.down_proj_dense, peer.dense]
    for kernel, dense_layer in zip(layer.kernels, dense, strict=True):
        dense_layer.kernel.assign(kernel)
    peer.dense.bias.assign(layer.bias)
    for x0, x in ((features(), None), (features(), features(1))):
        np.testing.assert_allclose(layer(x0, x), peer(x0, x), rtol=1e-5, atol=1e-6)
    assert layer.count_params() == (4 * 4 if rank is None else 2 * 4 * rank) + 4


def test_layers_in_a_row_make_polynomials_of_growing_degree():
    layers = [FeatureCross() for _ in range(3)]
    for layer in layers:
        layer.build((None, 1))
        layer.kernels[0].assign([[1.0]])
    x = np.array([[0.5]], "float32")
    crossed = x
    for degree, layer in enumerate(layers, 1):
        crossed = layer(x, crossed)
        assert float(crossed[0, 0]) == pytest.approx(0.5 * 1.5**degree)  # x (1 + x)^n


@pytest.mark.parametrize(
    ("kwargs", "fan_in"), [({"form": "vector"}, 900), ({}, 900), ({"rank": 400}, 400)]
)
def test_initial_values_have_the_articles_spread(kwargs, fan_in):
    keras.utils.set_random_seed(0)
    layer = FeatureCross(**kwargs)
    layer.build((None, 900))
    kernel = layer.kernels[-1].numpy()
    assert kernel.std() == pytest.approx(np.sqrt(2 / fan_in), rel=0.1)
    assert not layer.bias.numpy().any()


@pytest.mark.parametrize("kwargs", [{"form": "vector"}, {}, {"rank": 2}])
def test_works_in_a_functional_model_and_is_saved(kwargs, tmp_path):
    inputs = keras.Input((4,))
    once = FeatureCross(**kwargs)(inputs)
    model = keras.Model(inputs, FeatureCross(**kwargs)(inputs, once))
    assert model.output_shape == (None, 4)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(features()), model(features()))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"form": "tensor"}, "expected 'matrix' or 'vector'"),
        ({"rank": 0}, "expected at least 1"),
        ({"form": "vector", "rank": 2}, "with the vector form"),
    ],
)
def test_impossible_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        FeatureCross(**kwargs)


def test_different_widths_are_refused():
    with pytest.raises(ValueError, match="expected the same"):
        FeatureCross()(features(), features(dim=3))
