"""Several devices in one step: their reads of tables, and their agreement."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tests.support.train_with_overflow import ROWS, small_model, train_an_epoch
from tfdlrm import optimizers
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.training.distribution import strategy

FEATURES = {
    "dense_features": tf.ones((8, 2)),
    "categorical_features": tf.constant([[1, 2, 3], [4, 5, 6]] * 4),
}
SCHEMA = FeatureSchema(
    ("I1", "I2"), tuple(CategoricalFeature(f"C{i}", 20) for i in range(3))
)


@pytest.fixture(autouse=True)
def float32_afterwards():
    yield
    keras.config.set_dtype_policy("float32")


def graph_of(devices, step):
    """Return the graph of a function that every replica runs."""

    @tf.function(autograph=False)
    def run():
        return devices.run(step)

    return run.get_concrete_function().graph


def whole_tables_read(graph):
    return [
        operation.name
        for operation in graph.get_operations()
        if operation.type == "ReadVariableOp"
        and operation.outputs[0].shape == (ROWS, 4)
    ]


def test_no_replica_reads_a_whole_table_to_train():
    devices = strategy("mirrored")
    model = small_model(devices)
    data = FEATURES, tf.ones((8, 1))
    graph = graph_of(devices, lambda: model.train_step(data))
    assert whole_tables_read(graph) == []
    gathers = [
        operation
        for operation in graph.get_operations()
        if operation.type == "ResourceGather"
    ]
    assert len(gathers) == devices.num_replicas_in_sync == 2


def test_no_replica_reads_a_whole_table_to_validate():
    devices = strategy("mirrored")
    model = small_model(devices)
    graph = graph_of(devices, lambda: model(FEATURES, training=False))
    assert whole_tables_read(graph) == []


def test_a_model_of_several_devices_is_exported_with_gathers_of_rows(tmp_path):
    devices = strategy("mirrored")
    with devices.scope():
        model = small_model(devices)
        path = export_model(model, SCHEMA, tmp_path, tmp_path / "model")
    graph = SavedModel.FromString((path / "saved_model.pb").read_bytes()).meta_graphs[0]
    gathered = set()
    for function in graph.graph_def.library.function:
        nodes = {node.name: node for node in function.node_def}
        gathers = [node for node in nodes.values() if "Gather" in node.op]
        gathered |= {
            (node.op, nodes[source].op if source in nodes else "input")
            for node in gathers
            for source in [node.input[0].split(":")[0]]
        }
    assert ("ResourceGather", "input") in gathered
    assert ("GatherV2", "ReadVariableOp") not in gathered
    expected = tf.sigmoid(model(FEATURES))
    loaded = tf.saved_model.load(str(path)).signatures["serving_default"]
    features = {
        **FEATURES,
        "categorical_features": tf.cast(FEATURES["categorical_features"], tf.int64),
    }
    np.testing.assert_allclose(loaded(**features)["probability"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("tables", "replica"),
    [
        ("replicated", 1),
        pytest.param("replicated", 0, marks=pytest.mark.slow),
        pytest.param("sharded", 1, marks=pytest.mark.slow),
        pytest.param("host", 1, marks=pytest.mark.slow),
    ],
)
def test_a_step_that_overflows_on_one_replica_is_left_out_on_all(tables, replica):
    expected, expected_scale = train_an_epoch("default", "replicated", replica)
    weights, scale = train_an_epoch("mirrored", tables, replica)
    assert scale == expected_scale == 2.0**14
    for weight, expected_weight in zip(weights, expected, strict=True):
        assert np.isfinite(weight).all()
        np.testing.assert_allclose(weight, expected_weight, rtol=2e-2, atol=2e-3)


def test_one_device_decides_by_its_own_gradients():
    optimizer = optimizers.LossScaleOptimizer(optimizers.SGD(0.5), initial_scale=2.0)
    assert not optimizer.check_finite([tf.constant([np.inf])])
    assert optimizer.check_finite([tf.constant([1.0])])
