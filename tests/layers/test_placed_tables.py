"""Tables on devices of their own train as ordinary ones do."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdlrm import optimizers
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.checkpoints.variables import SavedVariables, copy_weights
from tfdlrm.config import OptimizerConfig, TrainConfig
from tfdlrm.data.reading import without_tuning
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.layers import MLP, DotInteraction, EmbeddingCollection
from tfdlrm.layers.table_placement import place_tables, tables_on
from tfdlrm.models import DLRM
from tfdlrm.planning.memory_plan import memory_plan
from tfdlrm.training.distribution import strategy, tables_placed

SIZES = [50, 40, 3]
OTHERS = ["SGD", "RowWiseAdagrad", "LazyAdam"]


def make_model(strategy_name="default", tables="replicated", optimizer="SGD", **kwargs):
    devices = strategy(strategy_name)
    with devices.scope(), tables_placed(devices, tables):
        keras.utils.set_random_seed(0)
        model = DLRM(
            EmbeddingCollection(SIZES, 4, **kwargs),
            MLP([4], final_activation="relu"),
            DotInteraction(),
            MLP([8, 1]),
        )
        model.build(
            {"dense_features": (None, 2), "categorical_features": (None, len(SIZES))}
        )
        model.compile(
            getattr(optimizers, optimizer)(0.1),
            keras.losses.BinaryCrossentropy(from_logits=True),
            metrics=[keras.metrics.AUC(name="auc", from_logits=True)],
        )
    return model


def batches(multi_hot=False, num_rows=105, batch_size=26):
    """Return batches; the last has a single row, none for the second device."""
    rng = np.random.default_rng(0)
    shape = (num_rows, len(SIZES))
    lengths = rng.integers(0, 4, shape) if multi_hot else np.ones(shape, int)
    flat = rng.integers(0, np.repeat(np.tile(SIZES, num_rows), lengths.ravel()))
    bags = tf.RaggedTensor.from_row_lengths(flat, lengths.ravel())
    ids = tf.RaggedTensor.from_uniform_row_length(bags, len(SIZES))
    features = {
        "dense_features": rng.normal(size=(num_rows, 2)).astype("float32"),
        "categorical_features": ids if multi_hot else flat.reshape(shape),
    }
    labels = rng.integers(0, 2, (num_rows, 1)).astype("float32")
    rows = tf.data.Dataset.from_tensor_slices((features, labels))
    return rows.batch(batch_size).with_options(without_tuning())


def train(model, **kwargs):
    """Train; return the tables as one, the other weights and the history."""
    history = model.fit(batches(**kwargs), epochs=2, verbose=0, shuffle=False)
    tables = {id(table) for table in model.embeddings.tables}
    other_weights = [
        weight.numpy() for weight in model.weights if id(weight) not in tables
    ]
    return whole_table(model), other_weights, history.history


def whole_table(model):
    joined_table = np.full((sum(SIZES), 4), np.nan)
    for table in model.embeddings.tables:
        shard = getattr(table, "shard", None)
        starts, lengths = (
            ([0], [len(joined_table)])
            if shard is None
            else (shard.starts, shard.lengths)
        )
        ends = np.cumsum(lengths)
        for start, length, end in zip(starts, lengths, ends, strict=True):
            joined_table[start : start + length] = table.numpy()[end - length : end]
    return joined_table


@pytest.fixture(scope="module")
def alone():
    """Weights and history on one device, by optimizer and form of ids."""
    results = {}

    def of(optimizer, multi_hot):
        key = optimizer, multi_hot
        if key not in results:
            results[key] = train(make_model(optimizer=optimizer), multi_hot=multi_hot)
        return results[key]

    return of


@pytest.mark.parametrize(
    "optimizer",
    ["Adagrad", *(pytest.param(o, marks=pytest.mark.slow) for o in OTHERS)],
)
@pytest.mark.parametrize(
    ("where", "multi_hot"),
    [
        pytest.param(("mirrored", "replicated"), True, marks=pytest.mark.slow),
        (("mirrored", "sharded"), True),
        pytest.param(("mirrored", "replicated"), False, marks=pytest.mark.slow),
        pytest.param(("mirrored", "sharded"), False, marks=pytest.mark.slow),
        pytest.param(("mirrored", "host"), False, marks=pytest.mark.slow),
        pytest.param(("default", "host"), True, marks=pytest.mark.slow),
    ],
)
def test_devices_train_as_one_does(alone, optimizer, where, multi_hot):
    model = make_model(*where, optimizer)
    table, weights, history = train(model, multi_hot=multi_hot)
    expected_table, expected_weights, expected_history = alone(optimizer, multi_hot)
    np.testing.assert_allclose(table, expected_table, rtol=1e-5, atol=1e-6)
    for actual, expected in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    for name, values in expected_history.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_regularizer_counts_by_rows_too():
    regularizer = keras.regularizers.L2(0.1)
    results = [
        train(make_model(*where, "Adagrad", activity_regularizer=regularizer))
        for where in (("default", "replicated"), ("mirrored", "sharded"))
    ]
    (table, _, history), (actual, _, found_history) = results
    np.testing.assert_allclose(actual, table, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found_history["loss"], history["loss"], rtol=1e-5)


def test_every_device_holds_its_share_and_its_state():
    model = make_model("mirrored", "sharded", "LazyAdam")
    model.optimizer.build(model.trainable_variables)
    held = {}
    for variable in [*model.weights, *model.optimizer.variables]:
        if hasattr(variable, "shard"):
            device = variable.value.device
            assert device == variable.shard.device
            held[device] = held.get(device, 0) + variable.value.shape.num_elements()
    numbers = 3 * sum(SIZES) * 4  # weights and two moments
    assert len(held) == 2
    assert sum(held.values()) == numbers
    assert max(held.values()) < 0.55 * numbers


def test_tables_on_the_host_are_one_variable_there():
    model = make_model("mirrored", "host")
    (table,) = model.embeddings.tables
    assert table.value.device.endswith("CPU:0")
    assert table.shape == (sum(SIZES), 4)


@pytest.mark.parametrize("num_devices", [1, 2, 3, 8])
def test_tables_are_spread_evenly_and_whole(num_devices):
    rng = np.random.default_rng(num_devices)
    num_rows = [int(10 ** rng.uniform(0, 6)) for _ in range(26)]
    slices = place_tables(num_rows, 64, [0] * num_devices)
    for table, rows in enumerate(num_rows):
        parts = [part for part in slices if part.table == table]
        ends = np.cumsum([part.num_rows for part in parts])
        assert ends[-1] == rows
        assert [part.first_row for part in parts] == [0, *ends[:-1]]
    loads = np.bincount([s.device for s in slices], [s.num_rows for s in slices])
    share = sum(num_rows) / num_devices
    assert max(loads) <= 1.02 * share + 26  # differs by rounding
    for part in slices:
        if part.num_rows < num_rows[part.table]:
            assert num_rows[part.table] > share / 51


def test_what_is_placed_before_counts():
    (only,) = place_tables([10], 4, loads=[100, 0])
    assert only.device == 1


def test_placed_rows_start_as_ordinary_ones_do():
    keras.utils.set_random_seed(0)
    ordinary = EmbeddingCollection(SIZES, 4, num_collisions=5, collision_threshold=40)
    ordinary.build()
    keras.utils.set_random_seed(0)
    with tables_on(["CPU:0", "CPU:1"]):
        placed = EmbeddingCollection(SIZES, 4, num_collisions=5, collision_threshold=40)
        placed.build()
    ids = np.array([[49, 39, 2], [0, 7, 0]])
    np.testing.assert_array_equal(placed(ids), ordinary(ids))
    np.testing.assert_array_equal(tf.function(placed)(ids), ordinary(ids))


@pytest.mark.parametrize(
    "optimizer", ["RowWiseAdagrad", pytest.param("LazyAdam", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("mirrored", "sharded"), ("default", "replicated")),
        pytest.param(
            ("default", "replicated"), ("mirrored", "sharded"), marks=pytest.mark.slow
        ),
    ],
)
def test_a_checkpoint_goes_from_one_placement_to_another(
    tmp_path, optimizer, before, after
):
    first, second = (make_model(*where, optimizer) for where in (before, after))
    first.fit(batches(), verbose=0, shuffle=False)
    saved = SavedVariables(first)
    state = {"shapes": saved.shapes, "tables": None}
    CheckpointDirectory(tmp_path).write_step(5, state, saved.all_pieces())
    CheckpointDirectory(tmp_path).restore(SavedVariables(second))
    np.testing.assert_array_equal(whole_table(second), whole_table(first))
    expected, actual = train(first), train(second)
    np.testing.assert_allclose(actual[0], expected[0], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_rows_that_change_are_noted_wherever_they_lie():
    model = make_model("mirrored", "sharded", "Adagrad")
    saved = SavedVariables(model)
    saved.watch_tables()
    ids = tf.constant([[0, 39, 2], [49, 39, 2]])
    features = {"dense_features": tf.ones((2, 2)), "categorical_features": ids}
    data = tf.data.Dataset.from_tensors((features, tf.ones((2, 1))))
    model.fit(data, verbose=0)
    changed = [piece for piece in saved.changed_pieces() if piece.rows is not None]
    assert {piece.values.shape for piece in changed} == {(4, 4)}
    for piece in changed:
        assert list(piece.rows) == [0, 49, 50 + 39, 90 + 2]


@pytest.mark.slow
def test_weights_are_copied_out_of_their_places():
    placed, plain = make_model("mirrored", "sharded"), make_model()
    placed.fit(batches(), verbose=0, shuffle=False)
    copy_weights(placed, plain)
    (features, _), *_ = batches()
    np.testing.assert_allclose(plain(features), placed(features), rtol=1e-6, atol=1e-6)


def test_a_plan_knows_where_tables_lie():
    config = TrainConfig(strategy="mirrored", optimizer=OptimizerConfig("lazy_adam"))
    schema = FeatureSchema(("I1",), (CategoricalFeature("C1", 1_000_000),))
    plans = {
        tables: memory_plan(schema, replace(config, tables=tables), num_devices=4)
        for tables in ("replicated", "sharded", "host")
    }
    placed = 1_000_000 * (16 * 4 * 3 + 1)  # weights, two moments and a flag
    replicated = plans["replicated"]
    assert plans["sharded"].device == replicated.device - placed * 3 // 4
    # To be measured and exported, the tables come together there.
    assert plans["sharded"].host == replicated.host + 1_000_000 * 16 * 4
    assert plans["host"].device == replicated.device - placed
    assert plans["host"].host == replicated.host + placed
