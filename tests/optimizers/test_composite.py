"""One optimizer for tables and another one for dense layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdlrm.config import DenseOptimizerConfig, OptimizerConfig
from tfdlrm.layers import EmbeddingCollection, LinearTerms
from tfdlrm.layers.bucket_vectors import BucketVectors
from tfdlrm.optimizers import SGD, Adagrad, CompositeOptimizer, LossScaleOptimizer
from tfdlrm.optimizers._parts import parts_of, rates_of
from tfdlrm.optimizers._tables import is_table
from tfdlrm.training.compiling import compile_model

RNG = np.random.default_rng(0)
MATRIX, BIAS = (RNG.normal(size=size).astype("float32") for size in ((3, 2), (2,)))
ROWS = RNG.normal(size=(5, 2)).astype("float32")
STEPS = [
    [RNG.normal(size=array.shape).astype("float32") for array in (MATRIX, BIAS)]
    for _ in range(4)
]
DENSE = [
    DenseOptimizerConfig("sgd", 0.1, momentum=0.9),
    DenseOptimizerConfig("adam", 0.1, weight_decay=0.1, clip_norm=0.5),
    *(
        DenseOptimizerConfig(name, 0.1)
        for name in ("adamw", "nadam", "adamax", "rmsprop", "adagrad", "adadelta")
    ),
    *(
        DenseOptimizerConfig(name, 0.1)
        for name in ("adafactor", "ftrl", "lamb", "lion")
    ),
]


def embedding_table(values=ROWS):
    table = keras.Variable(values, name="table")
    table.is_embedding_table = True
    return table


def sparse(rows, values):
    return tf.IndexedSlices(tf.constant(values, tf.float32), tf.constant(rows))


def compiled(config):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    compile_model(model, config)
    return model.optimizer


@pytest.mark.parametrize("dense", DENSE, ids=lambda config: config.name)
def test_dense_weights_step_as_by_keras_alone(dense):
    optimizer = compiled(OptimizerConfig("adagrad", 0.5, dense=dense))
    alone = type(optimizer.dense).from_config(optimizer.dense.get_config())
    expected = [keras.Variable(MATRIX), keras.Variable(BIAS)]
    variables = [keras.Variable(MATRIX), embedding_table(), keras.Variable(BIAS)]
    for matrix, bias in STEPS:
        alone.apply([matrix, bias], expected)
        table_gradient = sparse([1, 1], [[1, 2], [3, 4]])
        optimizer.apply([matrix, table_gradient, bias], variables)
    for variable, array in zip((variables[0], variables[2]), expected, strict=True):
        np.testing.assert_array_equal(variable.numpy(), array.numpy())
    assert not np.array_equal(variables[0].numpy(), MATRIX)
    table = embedding_table()
    tables_alone = Adagrad(0.5)
    for _ in STEPS:
        tables_alone.apply([sparse([1, 1], [[1, 2], [3, 4]])], [table])
    np.testing.assert_array_equal(variables[1].numpy(), table.numpy())


def test_the_settings_are_those_of_keras():
    dense = DenseOptimizerConfig("rmsprop", 0.25, 0.5, clip_norm=3.0, momentum=0.75)
    optimizer = compiled(
        OptimizerConfig("sgd", 0.5, warm_up_steps=4, dense=dense)
    ).dense
    assert float(optimizer.learning_rate) == 0.0625  # of the first step
    assert (optimizer.weight_decay, optimizer.global_clipnorm) == (0.5, 3.0)
    assert optimizer.momentum == 0.75
    adamw = compiled(OptimizerConfig(dense=DenseOptimizerConfig("adamw"))).dense
    assert adamw.weight_decay == keras.optimizers.AdamW().weight_decay


def test_a_sparse_gradient_of_a_dense_weight_is_that_of_the_whole_weight():
    dense = keras.optimizers.Adam(0.1)
    matrix = keras.Variable(MATRIX)
    optimizer = CompositeOptimizer(SGD(0.5), dense)
    gradient = tf.IndexedSlices(tf.ones((2, 2)), tf.constant([1, 1]), (3, 2))
    expected = keras.Variable(MATRIX)
    alone = keras.optimizers.Adam(0.1)
    for _ in range(2):
        optimizer.apply([gradient], [matrix])
        alone.apply([tf.constant([[0.0, 0.0], [2.0, 2.0], [0.0, 0.0]])], [expected])
    np.testing.assert_array_equal(matrix.numpy(), expected.numpy())
    assert int(optimizer.iterations) == 2  # though there is no table


def test_tables_are_what_ids_look_up():
    embeddings = EmbeddingCollection([9, 4], 3, table_dims=[2, 3])
    linear, buckets = LinearTerms([5, 4]), BucketVectors(2)
    keras_table = keras.layers.Embedding(5, 2)
    embeddings(np.zeros((1, 2), int))
    linear(np.ones((1, 3), "float32"), np.zeros((1, 2), int))
    buckets(np.ones((1, 3), "float32"))
    keras_table(np.zeros(3, int))
    layers = embeddings, linear, buckets, keras_table
    dense = {
        weight.path.rpartition("/")[2]
        for layer in layers
        for weight in layer.weights
        if not is_table(weight)
    }
    assert dense == {"tables_2_projection", "bias", "dense_weights"}
    assert sum(is_table(weight) for layer in layers for weight in layer.weights) == 5


def test_setting_the_learning_rate_scales_both_parts():
    optimizer = CompositeOptimizer(SGD(0.5), keras.optimizers.Adam(0.01))
    for outer in (optimizer, LossScaleOptimizer(optimizer)):
        outer.learning_rate = float(outer.learning_rate) / 10
    assert [float(part.learning_rate) for part in rates_of(outer)] == pytest.approx(
        [0.005, 0.0001]
    )
    assert parts_of(outer) == [optimizer.tables, optimizer.dense]
    alone = SGD(0.5)
    assert rates_of(alone) == rates_of(LossScaleOptimizer(alone)) == [alone]


def test_a_loss_scale_is_that_of_both_parts():
    plain = CompositeOptimizer(SGD(0.5), keras.optimizers.Adam(0.01))
    scaled = LossScaleOptimizer(
        CompositeOptimizer(SGD(0.5), keras.optimizers.Adam(0.01)), initial_scale=4.0
    )
    results = []
    for optimizer, scale in ((plain, 1.0), (scaled, 4.0)):
        variables = [embedding_table(), keras.Variable(BIAS)]
        gradient = sparse([1, 1], [[scale, scale], [scale, scale]])
        optimizer.apply([gradient, scale * tf.constant(BIAS)], variables)
        results.append([variable.numpy() for variable in variables])
    for array, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_accumulated_gradients_are_one_step_of_both_parts():
    def accumulating(steps):
        options = {"gradient_accumulation_steps": steps}
        return CompositeOptimizer(
            Adagrad(0.5, **options), keras.optimizers.Adam(0.1, **options)
        )

    optimizer, alone = accumulating(2), accumulating(None)
    variables = [embedding_table(), keras.Variable(BIAS)]
    expected = [embedding_table(), keras.Variable(BIAS)]
    for row in (1, 3):
        gradient = sparse([row], [[2.0, 4.0]])
        optimizer.apply([gradient, tf.constant([row, 1.0])], variables)
    both = sparse([1, 3], [[1.0, 2.0], [1.0, 2.0]])
    alone.apply([both, tf.constant([2.0, 1.0])], expected)
    for variable, array in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), array.numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((keras.optimizers.Adam(), keras.optimizers.Adam()), "Got tables=Adam"),
        ((SGD(), LossScaleOptimizer(SGD())), "goes around the composite"),
        ((SGD(), keras.optimizers.Adam(loss_scale_factor=2.0)), "put a LossScaleOpt"),
        (
            (SGD(gradient_accumulation_steps=2), SGD()),
            "2 for tables and None for dense",
        ),
    ],
)
def test_parts_that_do_not_go_together_are_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        CompositeOptimizer(*parts)
