"""Sums of a layer, and of its gradients, where it computes in 16 bits."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdlrm.layers import (
    MLP,
    DenseVectors,
    DotInteraction,
    EmbeddingCollection,
    FactorizationMachine,
    FeatureCross,
    LinearTerms,
)
from tfdlrm.layers.table_placement import tables_on

MIXED = ["mixed_bfloat16", "mixed_float16"]
ROWS = 6000  # of ones a sum ends at 256 in bfloat16, and at 2,048 in float16
RIGHT = {"sum": 3000.0, "mean": 0.5, "sqrtn": 3000 / np.sqrt(6000)}

LONG_BAG = np.repeat([0, 1], 3000)  # of a vector of ones, and then one of zeros


def forms():
    yield LONG_BAG[None, None]
    yield tf.RaggedTensor.from_nested_row_lengths(LONG_BAG, [[1], [len(LONG_BAG)]])
    yield [LONG_BAG], np.array([[0]])


def collection(policy, combiner="sum", **options):
    layer = EmbeddingCollection([2], 2, combiner, dtype=policy, **options)
    layer.build()
    layer.tables[0].assign([[1.0, 1.0], [0.0, 0.0]])
    return layer


def numbers(tensor):
    return tf.cast(tf.convert_to_tensor(tensor), tf.float64).numpy()


@pytest.mark.slow_variants
@pytest.mark.parametrize("policy", [*MIXED, "bfloat16", "float16"])
@pytest.mark.parametrize("combiner", RIGHT)
@pytest.mark.parametrize("index", range(3))
def test_long_bags(index, combiner, policy):
    actual = collection(policy, combiner)([*forms()][index])
    assert actual.dtype == policy.removeprefix("mixed_")
    np.testing.assert_allclose(numbers(actual)[0, 0], RIGHT[combiner], rtol=2**-8)


@pytest.mark.parametrize("policy", MIXED)
def test_long_bags_with_weights_and_projections(policy):
    weights = np.full((1, 1, 6000), 0.5, "float32")
    actual = collection(policy, "mean")(LONG_BAG[None, None], weights)
    np.testing.assert_allclose(numbers(actual), 0.5, rtol=2**-8)
    layer = EmbeddingCollection([2], 4, table_dims=[2], dtype=policy)
    actual = numbers(layer(LONG_BAG[None, None]))[0, 0]
    projection, table = (np.asarray(weight, "float64") for weight in layer.weights)
    expected = table[LONG_BAG].sum(0) @ projection[0]
    np.testing.assert_allclose(
        actual, expected, rtol=0.02, atol=0.02 * abs(expected).max()
    )


@pytest.mark.parametrize("policy", MIXED)
def test_gradients_of_placed_tables(policy):
    with tables_on(["CPU:0"]):
        layer = collection(policy)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.cast(layer(np.zeros((ROWS, 1), "int64")), tf.float32))
    (variable,) = layer.tables
    gradient = numbers(tape.gradient(loss, variable.value))
    np.testing.assert_allclose(gradient[0], ROWS, rtol=2**-8)


LAYERS = {
    "dense vectors": lambda **k: DenseVectors(2, **k),
    "cross": lambda **k: FeatureCross(**k),
    "cross of rank 1": lambda **k: FeatureCross(rank=1, **k),
    "cross with a vector": lambda **k: FeatureCross("vector", **k),
    "relu": lambda **k: MLP([4, 2], **k),
    "tanh": lambda **k: MLP([4, 2], activation="tanh", **k),
    "sigmoid at the end": lambda **k: MLP([2], final_activation="sigmoid", **k),
    "linear": lambda **k: LinearTerms([], **k),
}


@pytest.mark.slow_variants
@pytest.mark.parametrize("policy", MIXED)
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_large_batches(name, policy):
    """All rows are alike, so the gradient is a multiple of one row's."""
    keras.utils.set_random_seed(1)
    layer = LAYERS[name](dtype=policy)
    row = np.array([[0.5, -0.25, 1.0]], "float32")

    def gradients(rows):
        arguments = (
            {}
            if name not in ("relu", "tanh", "sigmoid at the end")
            else {"training": True}
        )
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.cast(layer(rows, **arguments), tf.float32))
        return [
            numbers(gradient)
            for gradient in tape.gradient(loss, layer.trainable_weights)
        ]

    gradient_of_one, gradient_of_many = (
        gradients(row),
        gradients(np.repeat(row, ROWS, 0)),
    )
    for single, total in zip(gradient_of_one, gradient_of_many, strict=True):
        np.testing.assert_allclose(total, ROWS * single, rtol=2**-6, atol=1e-3 * ROWS)


def test_a_tower_of_sequences_has_the_gradients_of_its_rows():
    keras.utils.set_random_seed(1)
    layer, rows = MLP([4, 2], activation="tanh"), np.random.rand(6, 5, 3).astype("f4")
    actual = []
    for inputs in (rows, rows.reshape(30, 3)):
        with tf.GradientTape() as tape:
            outputs = layer(inputs, training=True)
            loss = tf.reduce_sum(outputs**2)
        assert outputs.shape == (*inputs.shape[:-1], 2)
        np.testing.assert_allclose(outputs, layer(inputs), rtol=1e-5, atol=1e-6)
        actual.append(tape.gradient(loss, layer.trainable_weights))
    for value, other_value in zip(*actual, strict=True):
        np.testing.assert_allclose(value, other_value, rtol=1e-4, atol=1e-5)


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    ("policy", "num_features"), [("mixed_bfloat16", 1000), ("mixed_float16", 3000)]
)
def test_sums_over_many_features(policy, num_features):
    layer = LinearTerms([1] * num_features, dtype=policy)
    layer.build((None, 0), (None, num_features))
    layer.id_weights.tables[0].assign(np.full((num_features, 1), 0.25))
    actual = layer(np.zeros((1, 0)), np.zeros((1, num_features), "int64"))
    np.testing.assert_allclose(numbers(actual), 0.25 * num_features, rtol=2**-8)
    vectors = np.full((1, 600, 2), 0.125, "float32")
    actual = FactorizationMachine(dtype=policy)(vectors)
    np.testing.assert_allclose(numbers(actual), 600 * 599 / 64, rtol=2**-8)


@pytest.mark.parametrize("policy", MIXED)
@pytest.mark.parametrize("training", [False, True])
def test_products_of_wide_vectors(training, policy):
    vectors = np.ones((1, 3, ROWS), "float32")
    actual = DotInteraction(dtype=policy)(vectors, training=training)
    np.testing.assert_allclose(numbers(actual), ROWS, rtol=2**-8)


def test_the_table_is_never_cast_as_a_whole():
    layer = EmbeddingCollection([100_000], 4, dtype="mixed_bfloat16")
    layer.build()
    ids = tf.zeros((2, 1, 3), tf.int64)
    graph = tf.function(layer).get_concrete_function(ids).graph
    names = [operation.name for operation in graph.get_operations()]
    assert "ReadVariableOp" not in {
        operation.type for operation in graph.get_operations()
    }, names
