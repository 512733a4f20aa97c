"""Checks that `test_backends.py` runs in a process on another backend of Keras.

Every layer is compared with NumPy, trained in a small model, saved and loaded.
"""

import sys
from pathlib import Path

import keras
import numpy as np

from tfdlrm.layers import (
    MLP,
    BatchNormalization,
    BucketVectors,
    DenseVectors,
    DotInteraction,
    EmbeddingCollection,
    FactorizationMachine,
    FeatureCross,
    LinearTerms,
)
from tfdlrm.models import DLRM

SIZES = [10, 5, 7]
rng = np.random.default_rng(0)
ids = rng.integers(0, SIZES, (6, 3))
vectors = rng.normal(size=(6, 3, 8)).astype("float32")


def assert_close(result, expected):
    result = keras.ops.convert_to_numpy(result)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def tables_of(embeddings):
    fused = keras.ops.convert_to_numpy(embeddings.tables[0])
    return np.split(fused, np.cumsum(SIZES)[:-1])


def check_interaction():
    two_vectors = np.array([[[1, 2], [3, 4]]], "float32")
    assert keras.ops.convert_to_numpy(DotInteraction()(two_vectors)).tolist() == [[11]]
    products = vectors @ vectors.transpose(0, 2, 1)
    for diagonal, self_interaction in ((-1, False), (0, True)):
        rows, columns = np.tril_indices(3, diagonal)
        for training in (False, True):
            result = DotInteraction(self_interaction)(vectors, training=training)
            assert_close(result, products[:, rows, columns])


def check_embeddings():
    embeddings = EmbeddingCollection(SIZES, 8)
    result = embeddings(ids)
    expected = [table[ids[:, i]] for i, table in enumerate(tables_of(embeddings))]
    assert_close(result, np.stack(expected, axis=1))
    assert_close(embeddings([*ids.T]), result)
    padded = np.concatenate([ids[:, 2:], np.full((6, 1), -1)], axis=1)
    assert_close(embeddings([ids[:, 0], ids[:, 1:2], padded]), result)
    bags = np.stack([ids, np.where(ids > 2, ids - 1, -1)], axis=-1)
    for combiner in ("sum", "mean"):
        embeddings = EmbeddingCollection(SIZES, 8, combiner=combiner)
        result = embeddings(bags)
        combine = getattr(np, combiner)
        expected = [
            [combine(table[bag[bag >= 0]], axis=0) for bag in bags[:, i]]
            for i, table in enumerate(tables_of(embeddings))
        ]
        assert_close(result, np.stack(expected, axis=1))
    for options in ({"table_dims": [2, 4, 8]}, {"num_collisions": 2}):
        assert EmbeddingCollection(SIZES, 8, **options)(ids).shape == (6, 3, 8)


def check_out_of_range():
    result = EmbeddingCollection(SIZES, 8)(np.array([[10, 4, -1]]))
    assert_close(result[0, [0, 2]], np.zeros((2, 8)))


def check_refusals():
    starts = np.tile(np.arange(6), (3, 1))
    for call in (
        lambda: EmbeddingCollection(SIZES, 8)(([*ids.T], starts)),
        lambda: EmbeddingCollection(SIZES, 8, validate_ids=True),
    ):
        try:
            call()
        except ValueError as error:
            assert "the TensorFlow backend, this is " in str(error), error
        else:
            raise AssertionError("was not refused")
    try:
        import tfdlrm.optimizers  # noqa: F401
    except ImportError as error:
        assert "tfdlrm.optimizers need the TensorFlow backend" in str(error), error
    else:
        raise AssertionError("was not refused")


def check_others():
    squares = np.square(vectors.sum(1)) - np.square(vectors).sum(1)
    assert_close(FactorizationMachine()(vectors), squares.sum(1, keepdims=True) / 2)
    flat = vectors[:, 0]
    for layer in (FeatureCross(), FeatureCross("vector"), FeatureCross(rank=2)):
        assert layer(flat, flat).shape == flat.shape
    assert DenseVectors(4)(flat).shape == (6, 8, 4)
    assert BucketVectors(4)(flat).shape == (6, 8, 4)
    assert LinearTerms(SIZES)(flat, ids).shape == (6, 1)


def check_normalization():
    layer, rows = BatchNormalization(), vectors[:, 0]
    expected = (rows - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-5)
    assert_close(layer(rows, training=True), expected)
    assert_close(layer(rows), expected)
    assert_close(layer(rows[:1], training=True), expected[:1])


def check_model(directory, normalization):
    model = DLRM(
        EmbeddingCollection(SIZES, 8),
        MLP([9, 8], final_activation="relu", normalization=normalization),
        DotInteraction(),
        MLP([8, 1], "silu", dropout=0.1, normalization=normalization),
    )
    model.compile("adagrad", keras.losses.BinaryCrossentropy(from_logits=True))
    inputs = {"dense_features": vectors[:, 0], "categorical_features": ids}
    labels = (ids[:, :1] > 4).astype("float32")
    loss_before = model.evaluate(inputs, labels, verbose=0)
    model.fit(inputs, labels, epochs=20, verbose=0)
    assert model.evaluate(inputs, labels, verbose=0) < loss_before
    model.save(directory / "model.keras")
    loaded = keras.saving.load_model(directory / "model.keras")
    assert_close(loaded(inputs), keras.ops.convert_to_numpy(model(inputs)))


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    check_interaction()
    check_embeddings()
    check_out_of_range()
    check_refusals()
    check_others()
    check_normalization()
    for normalization in (None, "batch", "layer"):
        check_model(Path(sys.argv[1]), normalization)
    print(f"the layers agree with NumPy on {keras.backend.backend()}")
