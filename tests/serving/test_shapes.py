"""Shapes that a signature does not declare are the model's business."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tensorflow as tf

from tests.support.serving_thread import embedded, post, predict_request
from tfdlrm.serving.batching import BatchingParameters
from tfdlrm.serving.limits import Limits
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.server import ServerSettings

MAX_ROWS = 1000


class Shapes(tf.Module):
    """Functions that take more shapes than they declare, or report the others."""

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, "x")])
    def halve(self, x):
        return {"y": x / 2 + 1}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def multiply(self, x):
        return {"y": x @ [[1.0], [2.0]]}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def pairs(self, x):
        # The values of a flat array are those of rows of two.
        return {"y": tf.reduce_sum(tf.reshape(x, [-1, 2]), 1, keepdims=True)}

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, "x")])
    def center(self, x):
        return {"y": x - tf.reduce_mean(x, -1, keepdims=True)}

    @tf.function(input_signature=[tf.TensorSpec([2], tf.float32, "x")])
    def fixed(self, x):
        return {"y": x * 2}


def save_shapes(path):
    model = Shapes()
    names = ("halve", "multiply", "pairs", "center", "fixed")
    signatures = {name: getattr(model, name) for name in names}
    signatures["serving_default"] = model.halve
    tf.saved_model.save(model, str(path), signatures=signatures)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    base = tmp_path_factory.mktemp("shapes")
    save_shapes(base / "1")
    settings = ServerSettings(
        [ModelSettings("shapes", base)],
        poll_seconds=0,
        limits=Limits(rows=MAX_ROWS),
        batching=BatchingParameters(batch_timeout_micros=20_000, max_batch_size=64),
    )
    with embedded(settings) as running:
        yield running


def scored(stub, signature, x):
    request = predict_request("shapes", signature, x=np.asarray(x, np.float32))
    return tf.make_ndarray(stub.Predict(request, timeout=30).outputs["y"])


def refused(stub, signature, x):
    with pytest.raises(grpc.RpcError) as caught:
        scored(stub, signature, x)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    return caught.value.details()


@pytest.mark.parametrize("x", [[2.0], [[2.0]], [[2.0, 4.0]], 2.0, [[[2.0], [6.0]]], []])
def test_the_graph_answers_in_the_shape_that_it_computes(stub, x):
    answer = scored(stub, "", x)
    np.testing.assert_array_equal(answer, np.asarray(x) / 2 + 1)


def test_rest_takes_rows_and_columns_of_plain_values(server):
    url = f"{server.url}/v1/models/shapes:predict"
    assert post(url, {"instances": [2.0, 3.0, 4.0]}) == (
        200,
        {"predictions": [2.0, 2.5, 3.0]},
    )
    assert post(url, {"inputs": [2.0, 3.0, 4.0]}) == (200, {"outputs": [2.0, 2.5, 3.0]})
    assert post(url, {"instances": [{"x": 2.0}, {"x": 4.0}]}) == (
        200,
        {"predictions": [2.0, 3.0]},
    )
    assert post(url, {"inputs": {"x": [[2.0]]}}) == (200, {"outputs": [[2.0]]})


@pytest.mark.parametrize(("x", "shape"), [([1.0, 2.0], [2]), ([[1.0]], [1, 1])])
def test_a_shape_that_the_graph_refuses_is_named_with_the_reason(
    stub, server, x, shape
):
    text = refused(stub, "multiply", x)
    expected = (
        f"input x has the shape {shape}, expected [-1, 2]; the model refuses it: "
    )
    assert text.startswith(expected)
    assert "In[0]" in text.removeprefix(expected)  # as TensorFlow names the operand
    document = {"signature_name": "multiply", "inputs": x}
    status, answer = post(f"{server.url}/v1/models/shapes:predict", document)
    assert (status, answer) == (400, {"error": text})


def test_requests_of_other_shapes_share_no_run(stub):
    """Their values would mix, since their first sizes count no rows."""
    values = [np.arange(4) + 10 * number for number in range(8)]
    with ThreadPoolExecutor(len(values)) as threads:
        sums = list(threads.map(lambda x: scored(stub, "pairs", x), values))
        centered = list(threads.map(lambda x: scored(stub, "center", x), values))
    for x, row_sums, differences in zip(values, sums, centered, strict=True):
        np.testing.assert_array_equal(row_sums, x.reshape(2, 2).sum(1, keepdims=True))
        np.testing.assert_array_equal(differences, x - x.mean())


def test_a_fixed_shape_may_be_another_one(stub):
    np.testing.assert_array_equal(scored(stub, "fixed", [1.0, 2.0, 3.0]), [2, 4, 6])


def test_sizes_are_still_limited(stub):
    text = refused(stub, "", np.zeros(MAX_ROWS + 1))
    assert text == f"input x has {MAX_ROWS + 1} rows, expected <= {MAX_ROWS}"
    assert len(scored(stub, "", np.zeros(MAX_ROWS))) == MAX_ROWS
    text = refused(stub, "", np.zeros((2, MAX_ROWS)))
    assert f"has the shape [2, {MAX_ROWS}], expected [-1, 1] with <= " in text
    request = predict_request("shapes", "", x=np.float32(1))
    for size in (1, 2**25):  # one value stands for all
        request.inputs["x"].tensor_shape.dim.add().size = size
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(request, timeout=30)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_other_types_are_refused_as_before(stub):
    request = predict_request("shapes", "", x=np.array([2.0]))
    with pytest.raises(grpc.RpcError, match="input x is float64, expected float32"):
        stub.Predict(request, timeout=30)
