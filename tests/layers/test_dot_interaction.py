import keras
import keras_rs
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

from tfdlrm.layers import DotInteraction


def vectors(batch=5, n=4, dim=3):
    return np.random.default_rng(0).normal(size=(batch, n, dim)).astype("float32")


def products(vectors, self_interaction):
    """Return the dot products by their definition, in float64 loops."""
    exact = vectors.astype("float64")
    return np.array(
        [
            [
                row[i] @ row[j]
                for i in range(len(row))
                for j in range(i + 1 if self_interaction else i)
            ]
            for row in exact
        ]
    )


@pytest.mark.parametrize("self_interaction", [False, True])
def test_products_are_those_of_the_definition(self_interaction):
    outputs = DotInteraction(self_interaction)(vectors())
    np.testing.assert_allclose(
        outputs, products(vectors(), self_interaction), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("self_interaction", [False, True])
@pytest.mark.parametrize(
    "oracle",
    [keras_rs.layers.DotInteraction, tfrs.layers.feature_interaction.DotInteraction],
)
def test_agrees_with_other_libraries(oracle, self_interaction):
    inputs = list(np.moveaxis(vectors(), 1, 0))
    expected = oracle(self_interaction=self_interaction)(inputs)
    outputs = DotInteraction(self_interaction)(inputs)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


def test_a_list_and_a_stack_give_the_same():
    stacked = DotInteraction()(vectors())
    listed = DotInteraction()(list(np.moveaxis(vectors(), 1, 0)))
    np.testing.assert_array_equal(stacked, listed)


def test_one_vector_interacts_with_itself():
    outputs = DotInteraction(self_interaction=True)(np.array([[[3.0, 4.0]]]))
    assert outputs.numpy().tolist() == [[25.0]]


def test_batch_size_is_free_and_the_layer_is_saved(tmp_path):
    inputs = keras.Input((4, 3))
    model = keras.Model(inputs, DotInteraction(self_interaction=True)(inputs))
    assert model.output_shape == (None, 10)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for batch in (1, 7):
        np.testing.assert_array_equal(
            loaded(vectors(batch)), model(vectors(batch)), strict=True
        )


def test_list_inputs_work_in_a_functional_model():
    inputs = [keras.Input((3,)) for _ in range(4)]
    model = keras.Model(inputs, DotInteraction()(inputs))
    outputs = model(list(np.moveaxis(vectors(), 1, 0)))
    np.testing.assert_allclose(
        outputs, products(vectors(), False), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("self_interaction", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_training_step_has_the_products_and_gradients_of_the_definition(
    self_interaction, dtype
):
    exact = tf.constant(vectors(), tf.float64)
    narrow = tf.cast(exact, dtype)
    layer = DotInteraction(self_interaction, dtype=dtype)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([exact, narrow])
        outputs = layer(narrow, training=True)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float64) ** 2)
        matrix = tf.matmul(exact, exact, transpose_b=True)
        lower = tf.linalg.band_part(matrix, -1, 0)
        triangle = (
            lower if self_interaction else lower - tf.linalg.band_part(matrix, 0, 0)
        )
        exact_loss = tf.reduce_sum(triangle**2)
    tolerance = {"float32": 1e-5, "bfloat16": 0.05}[dtype]
    np.testing.assert_allclose(
        tf.cast(outputs, tf.float64),
        products(vectors(), self_interaction),
        rtol=tolerance,
        atol=2 * tolerance,
    )
    expected = tape.gradient(exact_loss, exact).numpy()
    np.testing.assert_allclose(
        tf.cast(tape.gradient(loss, narrow), tf.float64),
        expected,
        atol=tolerance * abs(expected).max(),
    )


def test_training_takes_batches_of_any_size():
    layer = DotInteraction()
    train = tf.function(lambda inputs: layer(inputs, training=True))
    for batch in (1, 5, 8):
        np.testing.assert_allclose(
            train(tf.constant(vectors(batch))),
            layer(vectors(batch)),
            rtol=1e-5,
            atol=1e-6,
        )


def test_mixed_precision_computes_in_bfloat16():
    layer = DotInteraction(dtype="mixed_bfloat16")
    outputs = layer(vectors())
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    np.testing.assert_allclose(
        keras.ops.cast(outputs, "float32"), products(vectors(), False), atol=0.1
    )


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.ones((2, 3)), "expected \\(batch, n, dim\\)"),
        (np.ones((2, 1, 3)), "expected at least 2"),
        ([np.ones((2, 3)), np.ones((2, 4))], "different widths \\[3, 4\\]"),
        ([np.ones((2, 3, 1)), np.ones((2, 3, 1))], "expected \\(batch, dim\\)"),
        (keras.KerasTensor((None, None, 3)), "number of vectors must be known"),
    ],
)
def test_other_shapes_are_refused(inputs, message):
    with pytest.raises(ValueError, match=message):
        DotInteraction()(inputs)
