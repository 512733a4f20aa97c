"""Clipping and gradient accumulation against dense gradients in float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.optimizers.test_optimizers import DIM, ROWS, RULES, make
from tfdlrm.layers import EmbeddingCollection
from tfdlrm.layers.table_placement import tables_on
from tfdlrm.optimizers import SGD, LazyAdam, LossScaleOptimizer

CLIPPING = [{"clipnorm": 0.7}, {"global_clipnorm": 0.7}, {"clipvalue": 0.2}]


def random_steps(num_steps, seed=0):
    """Return ids with repetitions, their gradients and the gradient of a bias."""
    rng = np.random.default_rng(seed)
    for _ in range(num_steps):
        ids = rng.integers(0, ROWS, 5)
        yield ids, rng.normal(size=(5, DIM)), rng.normal(size=(2,))


def dense(ids, values):
    gradient = np.zeros((ROWS, DIM))
    np.add.at(gradient, ids, values)
    return gradient


def exact_clip(gradients, clipnorm=None, global_clipnorm=None, clipvalue=None):
    if clipvalue:
        return [np.clip(gradient, -clipvalue, clipvalue) for gradient in gradients]
    norms = [np.linalg.norm(gradient) for gradient in gradients]
    if global_clipnorm:
        norms, clipnorm = [np.hypot(*norms)] * 2, global_clipnorm
    return [
        gradient * min(1, clipnorm / norm)
        for gradient, norm in zip(gradients, norms, strict=True)
    ]


def slices(ids, values, dtype=tf.float32):
    shape = tf.constant((ROWS, DIM), tf.int64)
    return tf.IndexedSlices(tf.constant(values, dtype), tf.constant(ids), shape)


class Dense:
    """A table and a bias with their states, trained densely."""

    def __init__(self, name):
        rng = np.random.default_rng(9)
        self.table, self.bias = rng.normal(size=(ROWS, DIM)), np.ones(2)
        self.states = {}, {}
        self.rule = RULES[name]
        self.bias_rule = RULES["Adagrad" if name == "RowWiseAdagrad" else name]

    def step(self, gradients, rows):
        self.rule(self.table, self.states[0], gradients[0], np.unique(rows))
        self.bias_rule(self.bias, self.states[1], gradients[1], np.arange(2))

    def assert_equals(self, table, bias):
        np.testing.assert_allclose(table, self.table, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(bias, self.bias, rtol=1e-4, atol=1e-5)

    def variables(self):
        return (
            keras.Variable(self.table.astype("float32")),
            keras.Variable(self.bias.astype("float32")),
        )


@pytest.mark.slow_variants
@pytest.mark.parametrize("options", CLIPPING, ids=lambda options: next(iter(options)))
@pytest.mark.parametrize("name", RULES)
def test_clipping_needs_the_summed_rows_only(name, options):
    expected = Dense(name)
    table, bias = expected.variables()
    optimizer = make(name, learning_rate=0.1, **options)
    optimizer.build([table, bias])
    apply = tf.function(optimizer.apply)
    for ids, values, bias_gradient in random_steps(4):
        apply([slices(ids, values), tf.constant(bias_gradient, tf.float32)])
        gradients = exact_clip([dense(ids, values), bias_gradient], **options)
        expected.step(gradients, ids)
    expected.assert_equals(table, bias)


@pytest.mark.parametrize("options", CLIPPING, ids=lambda options: next(iter(options)))
def test_a_gradient_within_the_bounds_is_not_changed(options):
    ids, values, _ = next(random_steps(1))
    tables = [keras.Variable(np.zeros((ROWS, DIM), "float32")) for _ in range(2)]
    wide = dict.fromkeys(options, 1000.0)
    SGD(0.1, **wide).apply([slices(ids, values)], [tables[0]])
    SGD(0.1).apply([slices(ids, values)], [tables[1]])
    np.testing.assert_allclose(tables[0], tables[1], rtol=1e-6)


def test_narrow_tables_are_clipped_by_sums_in_float32():
    table = keras.Variable(np.zeros((2, 1), "float32"), dtype="bfloat16")
    ones = tf.IndexedSlices(tf.ones((600, 1), tf.bfloat16), np.zeros(600, "int64"))
    SGD(1.0, clipvalue=512.0).apply([ones], [table])  # bfloat16 counts to 256
    assert tf.cast(table.value, tf.float32).numpy()[0, 0] == -512


@pytest.mark.parametrize(
    ("name", "is_graph"), [*((name, True) for name in RULES), ("LazyAdam", False)]
)
def test_accumulated_gradients_are_exact_sums(name, is_graph, num_steps=3):
    expected = Dense(name)
    table, bias = expected.variables()
    optimizer = make(name, learning_rate=0.1, gradient_accumulation_steps=num_steps)
    optimizer.build([table, bias])
    apply = tf.function(optimizer.apply) if is_graph else optimizer.apply
    total, rows = [np.zeros((ROWS, DIM)), np.zeros(2)], []
    for number, (ids, values, bias_gradient) in enumerate(random_steps(8), start=1):
        apply([slices(ids, values), tf.constant(bias_gradient, tf.float32)])
        total = [total[0] + dense(ids, values), total[1] + bias_gradient]
        rows = [*rows, *ids]
        if number % num_steps == 0:
            expected.step([gradient / num_steps for gradient in total], rows)
            total, rows = [np.zeros((ROWS, DIM)), np.zeros(2)], []
        expected.assert_equals(table, bias)


def test_sums_of_several_steps_are_clipped_once():
    expected = Dense("SGD")
    table, bias = expected.variables()
    options = {"global_clipnorm": 0.3}
    optimizer = SGD(0.1, gradient_accumulation_steps=2, **options)
    total = [np.zeros((ROWS, DIM)), np.zeros(2)]
    for ids, values, gradient in random_steps(2):
        gradients = [slices(ids, values), tf.constant(gradient, tf.float32)]
        optimizer.apply(gradients, [table, bias])
        total = [total[0] + dense(ids, values) / 2, total[1] + gradient / 2]
    expected.step(exact_clip(total, **options), np.arange(ROWS))
    expected.assert_equals(table, bias)


def click_model(**options):
    ids = keras.Input((2,), dtype="int64")
    vectors = EmbeddingCollection([10, 20], embedding_dim=4)(ids)
    model = keras.Model(ids, keras.layers.Dense(1)(keras.layers.Flatten()(vectors)))
    model.compile(LazyAdam(0.1, **options), "mse")
    return model


def batches(num_batches):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, [10, 20], (num_batches * 8, 2))
    labels = rng.normal(size=(num_batches * 8, 1)).astype("float32")
    return tf.data.Dataset.from_tensor_slices((ids, labels)).batch(8)


def test_sums_that_are_not_applied_yet_are_saved(tmp_path):
    model = click_model(gradient_accumulation_steps=2)
    model.fit(batches(3), verbose=0, shuffle=False)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    for candidate in (model, loaded):
        candidate.fit(batches(3), verbose=0, shuffle=False)
    for actual, expected in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_two_half_batches_are_a_whole_one():
    keras.utils.set_random_seed(0)
    halves = click_model(gradient_accumulation_steps=2)
    whole = click_model()
    whole.set_weights(halves.get_weights())
    halves.fit(batches(4), verbose=0, shuffle=False)
    whole.fit(batches(4).unbatch().batch(16), verbose=0, shuffle=False)
    for actual, expected in zip(halves.weights, whole.weights, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def mirrored():
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    reduce = tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=reduce)


@pytest.mark.slow
def test_two_devices_clip_the_gradient_of_the_whole_batch():
    models = []
    for strategy in (tf.distribute.get_strategy(), mirrored()):
        with strategy.scope():
            keras.utils.set_random_seed(0)
            models.append(click_model(global_clipnorm=0.05))
    models[1].set_weights(models[0].get_weights())
    for model in models:
        model.fit(batches(3), verbose=0, shuffle=False)
    for actual, expected in zip(models[1].weights, models[0].weights, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_what_needs_all_gradients_in_one_place_is_refused_on_several_devices():
    with mirrored().scope():
        model = click_model(gradient_accumulation_steps=2)
        with pytest.raises(ValueError, match=r"of 2 devices: leave it unset"):
            model.optimizer.build(model.trainable_variables)
        with tables_on(["CPU:0"]):
            placed = click_model(clipnorm=1.0)
        with pytest.raises(ValueError, match="does not clip gradients of tables"):
            placed.optimizer.build(placed.trainable_variables)


def test_a_scaled_loss_is_divided_out_of_the_rows():
    table = keras.Variable(np.ones((3, 1), "float32"))
    for optimizer in (
        SGD(0.5, loss_scale_factor=4.0),
        LossScaleOptimizer(SGD(0.5, clipnorm=3.0), initial_scale=4.0),
    ):
        table.assign(np.ones((3, 1)))
        rows = tf.IndexedSlices(tf.constant([[8.0], [4.0]]), [1, 1], (3, 1))
        optimizer.apply([rows], [table])
        assert table.numpy().tolist() == [[1.0], [-0.5], [1.0]]


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ("weight_decay", "give an EmbeddingCollection an embeddings_regularizer"),
        ("use_ema", "average the weights of saved checkpoints"),
    ],
)
def test_what_changes_rows_outside_a_batch_is_refused_with_advice(option, advice):
    with pytest.raises(ValueError, match=f"does not support {option}: .*{advice}"):
        SGD(0.1, **{option: 1.0})
