"""Types and operations of a step on a GPU, which differ from those on processors."""

import numpy as np
import pytest
import tensorflow as tf

from tests.optimizers.test_gpu_kernels import step_graph
from tfdlrm.config import TrainConfig
from tfdlrm.layers import BucketVectors, EmbeddingCollection
from tfdlrm.layers import _absent_ids as absent_ids
from tfdlrm.layers import _dense_products as products
from tfdlrm.layers import _devices as devices
from tfdlrm.layers import _id_bags as id_bags
from tfdlrm.layers.table_placement import tables_on
from tfdlrm.training.fit import set_precision

ARITHMETIC = {"AddV2", "Sub", "Mul", "FloorDiv", "FloorMod", "Less", "GreaterEqual"}


@pytest.fixture
def gpu(monkeypatch):
    """Let layers find a GPU."""
    for module in (devices, products, absent_ids, id_bags):
        monkeypatch.setattr(module, "has_gpu", lambda: True)


IDS = np.array([[0, 3, -1], [9, 4, 7], [1, 5, 6]], np.int32)  # 3 features of 5 ids


def ragged():
    flat = tf.RaggedTensor.from_row_lengths(
        IDS.ravel() % 5, np.array([2, 0, 7] + [0] * 6)
    )
    return tf.RaggedTensor.from_uniform_row_length(
        flat.with_row_splits_dtype("int32"), 3
    )


FORMS = {
    "single": lambda: tf.constant(IDS),
    "padded": lambda: tf.constant(IDS[:, :, None]),
    "ragged": ragged,
}


def vectors(ids_form, **options):
    layer = EmbeddingCollection([5, 5, 5], 2, **options)
    layer.build()
    table = layer.tables[0]
    table.assign(np.arange(table.shape[0] * 2, dtype="float32").reshape(-1, 2))
    function = tf.function(lambda ids: layer(ids))
    ids = FORMS[ids_form]()
    return function(ids).numpy(), function.get_concrete_function(ids).graph


def in_host_memory(graph):
    """Return arithmetic with an int32 for each id, for which GPUs have no kernel."""
    return {
        operation.name
        for operation in graph.get_operations()
        if operation.type in ARITHMETIC
        and operation.inputs[0].dtype == tf.int32
        and operation.outputs[0].shape.rank != 0
    }


@pytest.mark.slow_variants
@pytest.mark.parametrize("ids_form", FORMS)
@pytest.mark.parametrize(
    "options", [{}, {"num_collisions": 2}], ids=["whole", "shared"]
)
def test_ids_are_computed_in_a_type_that_gpus_hold(gpu, ids_form, options):
    actual, graph = vectors(ids_form, **options)
    assert not in_host_memory(graph)
    with pytest.MonkeyPatch.context() as patch:
        for module in (devices, absent_ids, id_bags):
            patch.setattr(module, "has_gpu", lambda: False)
        expected, graph = vectors(ids_form, **options)
    assert in_host_memory(graph)  # int32 is faster on processors
    np.testing.assert_array_equal(actual, expected)


def test_buckets_are_found_in_a_type_that_gpus_hold(gpu):
    layer = BucketVectors(dim=2)
    layer.build((None, 3))
    function = tf.function(lambda values: layer(values))
    graph = function.get_concrete_function(tf.ones((4, 3))).graph
    assert not in_host_memory(graph)


def test_rows_in_shares_are_found_in_a_type_that_gpus_hold(gpu):
    with tables_on(["CPU:0", "CPU:1"]):
        layer = EmbeddingCollection([50, 40], 2)
        layer.build()
    function = tf.function(lambda ids: layer(ids))
    graph = function.get_concrete_function(tf.zeros((4, 2), tf.int64)).graph
    assert not in_host_memory(graph)


def gradients(dtype):
    rng = np.random.default_rng(0)
    arrays = rng.normal(size=(6, 5)), rng.normal(size=(5, 3)), rng.normal(size=3)
    inputs, kernel, bias = (tf.constant(array, dtype) for array in arrays)

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            tape.watch([inputs, kernel, bias])
            outputs = products.dense_products(inputs, kernel, bias, has_relu=True)
        return tape.gradient(outputs, [inputs, kernel, bias])

    graph = gradients.get_concrete_function().graph
    return gradients(), {operation.type for operation in graph.get_operations()}


def test_gpus_sum_the_gradient_of_a_bias_and_pad_no_kernel(gpu, monkeypatch):
    actual, operations = gradients(tf.float32)
    assert "BiasAddGrad" in operations  # a product would be rounded where TF32 is on
    assert "Pad" not in operations
    monkeypatch.setattr(products, "has_gpu", lambda: False)
    expected, operations = gradients(tf.float32)
    assert "Pad" in operations
    for gradient, expected_gradient in zip(actual, expected, strict=True):
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-6, atol=1e-6)


def test_absent_vectors_are_hidden_by_a_mask_on_gpus(gpu):
    is_absent = tf.constant([True, False])
    values = tf.Variable([[1.0, 2.0], [3.0, 4.0]])

    @tf.function
    def hide():
        with tf.GradientTape() as tape:
            hidden = absent_ids.with_zeros_where(values + 0.0, is_absent)
        return hidden, tape.gradient(hidden, values)

    hidden, gradient = hide()
    assert hidden.numpy().tolist() == [[0.0, 0.0], [3.0, 4.0]]
    assert gradient.numpy().tolist() == [[0.0, 0.0], [1.0, 1.0]]
    graph = hide.get_concrete_function().graph
    # The host would wait for the number of positions.
    assert "Where" not in {operation.type for operation in graph.get_operations()}


def test_lazy_adam_updates_each_dense_variable_by_one_kernel():
    types = [node.op for node in step_graph("lazy_adam", "float32").node]
    assert types.count("ResourceApplyAdam") == 8  # two kernels and biases in each MLP
    assert types.count("Pow") == 2


@pytest.mark.parametrize("tf32", [False, True])
def test_products_are_rounded_to_tf32_only_where_that_is_asked_for(tf32):
    is_on = tf.config.experimental.tensor_float_32_execution_enabled
    was_on = is_on()
    try:
        set_precision(TrainConfig(tf32=tf32))
        assert is_on() == tf32
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(was_on)


def test_a_run_computes_in_float32_unless_told_otherwise():
    assert not TrainConfig().tf32
