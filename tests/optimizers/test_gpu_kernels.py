"""Every operation of a training step on a GPU has a kernel there."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.gpu_kernels import has_kernel, without_gpu_kernel
from tfdlrm.config import OptimizerConfig
from tfdlrm.config.models import DLRMConfig
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.layers import EmbeddingCollection
from tfdlrm.layers import _fused_tables as fused_tables
from tfdlrm.layers._fused_tables import row_dtype
from tfdlrm.layers._table_rows import write_rows
from tfdlrm.models import build_model
from tfdlrm.training.compiling import compile_model

ON_THE_CPU = {
    # The messages of checks that end a step: there is no text on GPUs.
    "Const {'dtype': 'string'}",
}
"""Operations of a step that run on the CPU, for a reason."""


@pytest.fixture(autouse=True)
def float32_afterwards():
    yield
    keras.config.set_dtype_policy("float32")


def step_graph(optimizer, precision, multi_hot=False, **settings):
    """Return the graph of a training step of a small model."""
    keras.config.set_dtype_policy(precision)
    names = [CategoricalFeature(f"C{i}", 20, multi_hot) for i in range(3)]
    schema = FeatureSchema(("I1", "I2"), tuple(names))
    config = DLRMConfig(
        embedding_dim=4, bottom_mlp_units=(8,), top_mlp_units=(8,), **settings
    )
    model = build_model(schema, config)
    compile_model(model, OptimizerConfig(optimizer))
    ids = np.arange(12, dtype=np.int32).reshape(4, 3)
    if multi_hot:
        bags = tf.RaggedTensor.from_row_lengths(ids.ravel(), np.ones(12, np.int32))
        ids = tf.RaggedTensor.from_uniform_row_length(bags, 3)
    features = {"dense_features": tf.ones((4, 2)), "categorical_features": ids}
    labels = tf.ones((4, 1))
    model.optimizer.build(model.trainable_variables)
    step = tf.function(lambda: model.train_step((features, labels)), autograph=False)
    return step.get_concrete_function().graph.as_graph_def()


@pytest.mark.slow_variants
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize(
    "optimizer", ["sgd", "adagrad", "row_wise_adagrad", "lazy_adam"]
)
def test_every_operation_of_a_step_has_a_kernel_for_gpus(optimizer, precision):
    missing = without_gpu_kernel(step_graph(optimizer, precision))
    assert missing <= ON_THE_CPU


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_every_operation_of_a_step_with_bags_has_a_kernel_for_gpus(precision):
    missing = without_gpu_kernel(step_graph("adagrad", precision, multi_hot=True))
    assert missing <= ON_THE_CPU


def test_the_registry_knows_what_gpus_lack():
    assert has_kernel("ResourceScatterUpdate", dtype=tf.float32, Tindices=tf.int64)
    assert has_kernel("ResourceScatterUpdate", dtype=tf.bool, Tindices=tf.int32)
    assert not has_kernel("ResourceScatterUpdate", dtype=tf.bool, Tindices=tf.int64)


@pytest.mark.parametrize("dtype", [tf.bool, tf.float32, tf.int8])
def test_rows_are_written_by_a_kernel_that_gpus_have(dtype):
    variable = tf.Variable(tf.zeros((5, 2), dtype))

    @tf.function
    def write(rows, values):
        write_rows(variable, rows, values)

    rows, values = tf.constant([3, 1], tf.int64), tf.ones((2, 2), dtype)
    write(rows, values)
    graph = write.get_concrete_function(rows, values).graph.as_graph_def()
    assert without_gpu_kernel(graph) == set()
    assert tf.cast(variable, tf.int32).numpy()[:, 0].tolist() == [0, 1, 0, 1, 0]


def test_row_numbers_are_wide_where_gpus_multiply_them_by_the_width():
    # The last number of the table is at rows * dim - 1.
    assert row_dtype(2**25, 63) == "int32"
    assert row_dtype(2**25, 64) == "int64"
    assert row_dtype(2**31, 1) == "int64"


def test_a_layer_gathers_by_wide_rows_where_its_table_is_large(monkeypatch):
    monkeypatch.setattr(fused_tables, "row_dtype", lambda *shape: row_dtype(2**29, 4))
    layer = EmbeddingCollection([20], embedding_dim=4)
    layer.build()

    @tf.function
    def look_up():
        return layer(tf.constant([[3]]))

    operations = look_up.get_concrete_function().graph.get_operations()
    (gather,) = (
        operation for operation in operations if operation.type == "ResourceGather"
    )
    assert gather.inputs[1].dtype == tf.int64
