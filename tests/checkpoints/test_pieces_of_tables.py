"""Tables are copied, saved and loaded in bounded pieces, on their own devices."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_replicas import FEATURES, SCHEMA
from tests.support.train_with_overflow import ROWS, small_model
from tfdlrm.checkpoints import variable as stored_variable
from tfdlrm.checkpoints.entries import Piece
from tfdlrm.checkpoints.variables import SavedVariables, copy_weights
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.layers._fused_tables import join_tables
from tfdlrm.optimizers import Adagrad, LossScaleOptimizer
from tfdlrm.training.best_weights import load_best_weights, write_best_weights
from tfdlrm.training.distribution import strategy
from tfdlrm.training.run_directory import RunDirectory

BOUND = 400  # bytes: more than a dense layer, less than the 60 rows of the table
PLACEMENTS = [
    ("default", "replicated"),
    ("default", "host"),
    ("mirrored", "replicated"),
    ("mirrored", "sharded"),
    ("mirrored", "host"),
]


@pytest.fixture
def steps(monkeypatch):
    """Bytes and device of each read or write of tables, with small pieces."""
    monkeypatch.setattr(stored_variable, "PIECE_BYTES", BOUND)
    steps = []
    write, gather = stored_variable.write_rows, tf.raw_ops.ResourceGather

    def note(variable, rows, values):
        steps.append((rows.nbytes + np.asarray(values).nbytes, variable))
        assert tf.constant(0).device == variable.device

    def record_write(variable, rows, values):
        note(variable, rows, values)
        write(variable, rows, values)

    def record_gather(resource, indices, dtype):
        values = gather(resource=resource, indices=indices, dtype=dtype)
        assert tf.constant(0).device == resource.device
        steps.append((indices.nbytes + values.numpy().nbytes, resource))
        return values

    monkeypatch.setattr(stored_variable, "write_rows", record_write)
    monkeypatch.setattr(tf.raw_ops, "ResourceGather", record_gather)
    return steps


def assert_in_steps(steps, num_copies):
    sizes = [num_bytes for num_bytes, _ in steps]
    assert max(sizes) <= BOUND
    assert sum(sizes) == num_copies * ROWS * (4 * 4 + 8)


@pytest.mark.parametrize(("name", "tables"), PLACEMENTS)
def test_weights_are_copied_in_pieces_wherever_tables_lie(name, tables, steps):
    source, target = small_model(strategy(name), tables), other_model()
    copy_weights(source, target)
    assert_in_steps(steps, num_copies=2)  # one read, one written
    np.testing.assert_array_equal(target(FEATURES), source(FEATURES))


def other_model():
    """Return a model of other weights on one device."""
    model = small_model(strategy("default"))
    model.set_weights([values + 1 for values in model.get_weights()])
    return model


@pytest.mark.parametrize("device_name", ["CPU:0", "CPU:1"])
def test_what_is_no_table_goes_to_its_own_device_too(device_name, monkeypatch):
    with tf.device(device_name):
        variable = tf.Variable([1.0, 2.0])
    assign_devices = []
    monkeypatch.setattr(
        type(variable),
        "assign",
        lambda self, _: assign_devices.append(tf.constant(0).device),
    )
    holder = stored_variable.StoredVariable("bias", ((variable,),))
    holder.assign(Piece("bias", np.array([3.0, 4.0], np.float32)))
    holder.fill(False)
    assert [device[-5:] for device in assign_devices] == [device_name, device_name]


def test_a_piece_of_all_rows_is_written_in_steps(steps):
    model = small_model(strategy("mirrored"), "sharded")
    variables = SavedVariables(model, with_optimizer=False)
    holder = variables.holder_of(model.embeddings.tables[0])
    values = np.arange(ROWS * 4, dtype=np.float32).reshape(-1, 4)
    holder.assign(Piece(holder.name, values))
    assert_in_steps(steps, num_copies=1)
    np.testing.assert_array_equal(holder.whole().values, values)


@pytest.mark.parametrize("name", ["default", "mirrored"])
def test_the_best_weights_are_written_and_read_in_pieces(
    name, steps, tmp_path, monkeypatch
):
    source, target, run = small_model(strategy(name)), other_model(), tmp_path
    sizes = []
    convert = keras.src.backend.convert_to_numpy
    monkeypatch.setattr(
        "keras.src.saving.saving_lib.backend.convert_to_numpy",
        lambda values: sizes.append(convert(values).size) or convert(values),
    )
    write_best_weights(source, RunDirectory(run))
    copies = source.distribute_strategy.num_replicas_in_sync
    assert ROWS * 4 not in sizes  # Keras itself saved no table
    load_best_weights(target, RunDirectory(run))
    assert_in_steps(steps, num_copies=4)  # the accumulators too
    load_best_weights(source, RunDirectory(run))
    assert_in_steps(steps, num_copies=4 + 2 * copies)
    np.testing.assert_array_equal(target(FEATURES), source(FEATURES))
    keras_model = other_model()
    keras_model.load_weights(run / "best.weights.h5")  # by Keras alone
    np.testing.assert_array_equal(keras_model(FEATURES), source(FEATURES))


@pytest.mark.parametrize(
    ("name", "tables", "is_joined"),
    [(*placement, placement[1] != "sharded") for placement in PLACEMENTS],
)
def test_tables_on_one_device_are_ordinary_ones_without_a_copy(name, tables, is_joined):
    model = small_model(strategy(name), tables)
    outputs, variables = model(FEATURES), [id(variable) for variable in model.variables]
    assert join_tables(model) == is_joined
    np.testing.assert_array_equal(model(FEATURES), outputs)
    assert [id(variable) for variable in model.variables] == variables


def test_one_copy_of_mirrored_weights_is_exported(tmp_path, monkeypatch):
    saved, save = [], tf.saved_model.save

    def record(module, *arguments, **options):
        saved.extend(module.weights)
        save(module, *arguments, **options)

    monkeypatch.setattr(tf.saved_model, "save", record)
    devices = strategy("mirrored")
    with devices.scope():
        model = small_model(devices)
        export_model(model, SCHEMA, tmp_path, tmp_path / "model")
    assert len(saved) == len(model.weights)
    assert not any(
        isinstance(weight, tf.distribute.DistributedValues) for weight in saved
    )


def test_the_optimizer_inside_of_loss_scaling_is_saved_too(steps, tmp_path):
    models = []
    for value in (0.5, 0.25):
        model = small_model(strategy("default"))
        inner = Adagrad(0.1, initial_accumulator_value=value)
        model.compile(LossScaleOptimizer(inner), "mse")
        model.optimizer.build(model.trainable_variables)
        models.append(model)
    source, target = models
    write_best_weights(source, RunDirectory(tmp_path))
    load_best_weights(target, RunDirectory(tmp_path))
    for loaded_state, saved_state in zip(
        target.optimizer.variables, source.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(loaded_state, saved_state)
    assert max(num_bytes for num_bytes, _ in steps) <= BOUND
