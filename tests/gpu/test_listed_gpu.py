"""Decisions of Keras and of this project next to a GPU that is only listed."""

import runpy

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import config as tensorflow_config

from tests.docs.test_pages import blocks
from tests.support.processes import ROOT
from tfdlrm import optimizers
from tfdlrm.config import OptimizerConfig
from tfdlrm.config.models import (
    DCNConfig,
    DCNV2Config,
    DeepFMConfig,
    DLRMConfig,
    FMConfig,
    LogisticRegressionConfig,
    MFConfig,
    MLPConfig,
)
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.models import build_model
from tfdlrm.training.compiling import compile_model


@pytest.fixture(autouse=True)
def listed_gpu(monkeypatch):
    """Let TensorFlow list a GPU in addition to the real devices."""
    list_devices = tf.config.list_physical_devices
    gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")

    def list_with_gpu(device_type=None):
        return list_devices(device_type) + [gpu] * (device_type in (None, "GPU"))

    monkeypatch.setattr(tf.config, "list_physical_devices", list_with_gpu)
    # Keras compiles nothing once another test of this process asked for determinism.
    monkeypatch.setattr(tensorflow_config, "is_op_determinism_enabled", lambda: False)


def plain_model():
    ids = keras.Input((3,), dtype="int64")
    vectors = keras.layers.Embedding(20, 4)(ids)
    return keras.Model(ids, keras.layers.Dense(1)(keras.layers.Flatten()(vectors)))


def test_keras_compiles_other_models_beside_a_gpu():
    model = plain_model()
    model.compile("sgd", "mse")
    assert model.jit_compile


@pytest.mark.parametrize(
    "config",
    [
        DLRMConfig(embedding_dim=4, bottom_mlp_units=(8,), top_mlp_units=(8,)),
        DCNConfig(),
        DCNV2Config(),
        FMConfig(),
        DeepFMConfig(),
        MFConfig("C0", "C1"),
        LogisticRegressionConfig(),
        MLPConfig(),
    ],
    ids=lambda config: config.name,
)
def test_models_of_this_project_are_not_compiled_as_a_whole(config):
    columns = tuple(CategoricalFeature(f"C{i}", 20) for i in range(3))
    model = build_model(FeatureSchema(("I1", "I2"), columns), config)
    compile_model(model, OptimizerConfig("adagrad"))
    assert not model.jit_compile


@pytest.mark.parametrize("document", ["README.md", "docs/reuse.md"])
def test_a_model_of_the_documents_trains_beside_a_gpu(document):
    program = next(code for code in blocks(document, "python") if "compile(" in code)
    names = {}
    exec(program, names)
    model = names["model"]
    assert not model.jit_compile
    ids = np.random.default_rng(0).integers(0, 7, (64, 3))
    assert np.isfinite(model.evaluate(ids, np.ones((64, 1)), verbose=0))
    model.fit(ids, np.ones((64, 1)), verbose=0)


class FittedError(Exception):
    """Raised in place of training."""


@pytest.mark.parametrize(
    "example",
    [
        "movielens_ranking",
        "tabular",
        pytest.param("retrieval_then_ranking", marks=pytest.mark.slow),
    ],
)
def test_the_examples_train_beside_a_gpu(example, monkeypatch):
    fitted = []

    def fit(model, *args, **kwargs):
        fitted.append(model)
        raise FittedError

    monkeypatch.setattr(keras.Model, "fit", fit)
    program = runpy.run_path(str(ROOT / "examples" / f"{example}.py"))
    with pytest.raises(FittedError):
        program["main"]()
    assert [model.jit_compile for model in fitted] == [False]


@pytest.mark.parametrize(
    "name",
    [
        "Adagrad",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("SGD", "RowWiseAdagrad", "LazyAdam")
        ),
    ],
)
def test_what_keras_compiles_is_trained_as_what_it_does_not(name):
    ids = np.random.default_rng(0).integers(0, 20, (8, 3))
    weights = []
    for jit_compile in (True, False):
        keras.utils.set_random_seed(0)
        model = plain_model()
        optimizer = getattr(optimizers, name)(0.1)
        model.compile(optimizer, "mse", jit_compile=jit_compile)
        model.fit(ids, np.ones((8, 1)), verbose=0)
        weights.append(model.get_weights() + [v.numpy() for v in optimizer.variables])
    for compiled, expected in zip(*weights, strict=True):
        np.testing.assert_allclose(compiled, expected, rtol=1e-5, atol=1e-6)
