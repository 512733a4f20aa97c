"""The model and its optimizers step by step against the reference's own numbers."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdlrm import optimizers
from tfdlrm.layers import MLP, DotInteraction, EmbeddingCollection
from tfdlrm.models import DLRM


def reference_model(recorded):
    """Return a model with the recorded architecture and initial weights."""
    meta = json.loads(str(recorded["meta"]))
    sizes = meta["vocabulary_sizes"]
    model = DLRM(
        EmbeddingCollection(sizes, meta["embedding_dim"]),
        MLP(meta["bottom_mlp"][1:], final_activation="relu"),
        DotInteraction(meta["interact_itself"]),
        MLP(meta["top_mlp"][1:]),
    )
    model.build(
        {
            "dense_features": (None, meta["bottom_mlp"][0]),
            "categorical_features": (None, len(sizes)),
        }
    )
    for weight, value in weights_beside(model, recorded, "initial"):
        weight.assign(value)
    return model, meta


def weights_beside(model, recorded, moment):
    """Return pairs of a weight of the model and the reference's value of it."""
    tables = [key for key in recorded.files if key.startswith(f"{moment}/emb_l")]
    yield model.embeddings.tables[0], np.concatenate([recorded[key] for key in tables])
    for name, mlp in (("bot_l", model.bottom_mlp), ("top_l", model.top_mlp)):
        for i, layer in enumerate(mlp.dense_layers):
            yield layer.kernel, recorded[f"{moment}/{name}.{2 * i}.weight"].T
            yield layer.bias, recorded[f"{moment}/{name}.{2 * i}.bias"]


def recorded_step(recorded, step, meta):
    num_features = len(meta["vocabulary_sizes"])
    ids = [recorded[f"step{step}/indices{i}"] for i in range(num_features)]
    if meta["multi_hot"]:
        ids = (ids, recorded[f"step{step}/offsets"])
    else:
        ids = np.stack(ids, axis=1)
    return {
        "dense_features": recorded[f"step{step}/dense"],
        "categorical_features": ids,
    }


def test_probabilities_agree_with_the_reference(golden):
    recorded = np.load(golden / "reference_sgd.npz")
    model, meta = reference_model(recorded)
    probabilities = keras.ops.sigmoid(model(recorded_step(recorded, 0, meta)))
    np.testing.assert_allclose(probabilities, recorded["step0/probability"], atol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adagrad", "rwsadagrad", "multihot_itself"])
def test_training_agrees_with_the_reference(golden, name):
    recorded = np.load(golden / f"reference_{name}.npz")
    model, meta = reference_model(recorded)
    optimizer = {
        "sgd": optimizers.SGD,
        "adagrad": optimizers.Adagrad,
        "rwsadagrad": optimizers.RowWiseAdagrad,
    }[meta["optimizer"]](learning_rate=meta["learning_rate"])
    entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    for step in range(meta["steps"]):
        with tf.GradientTape() as tape:
            logits = model(recorded_step(recorded, step, meta), training=True)
            loss = entropy(recorded[f"step{step}/label"], logits)
        np.testing.assert_allclose(
            tf.sigmoid(logits), recorded[f"step{step}/probability"], rtol=1e-5
        )
        assert float(loss) == pytest.approx(recorded[f"step{step}/loss"], rel=1e-5)
        weights = model.trainable_variables
        optimizer.apply(tape.gradient(loss, weights), weights)
    for weight, expected in weights_beside(model, recorded, "final"):
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)


def test_fit_agrees_with_the_reference(golden):
    recorded = np.load(golden / "reference_adagrad.npz")
    model, meta = reference_model(recorded)
    model.compile(
        optimizers.Adagrad(learning_rate=meta["learning_rate"]),
        keras.losses.BinaryCrossentropy(from_logits=True),
    )
    batches = [recorded_step(recorded, step, meta) for step in range(meta["steps"])]
    labels = [recorded[f"step{step}/label"] for step in range(meta["steps"])]
    features = {key: np.concatenate([b[key] for b in batches]) for key in batches[0]}
    rows = (features, np.concatenate(labels))
    data = tf.data.Dataset.from_tensor_slices(rows).batch(meta["batch"])
    model.fit(data, verbose=0, shuffle=False)
    for weight, expected in weights_beside(model, recorded, "final"):
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)
