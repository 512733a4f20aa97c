"""Large requests, which another process reads, are answered like small ones."""

import gzip

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

from tests.support.large_requests import LIMITS, ROWS, as_json, columns, instances
from tests.support.limited_server import limited_server
from tests.support.served_model import example, expected
from tests.support.serving_thread import post, predict_request


@pytest.fixture(scope="module")
def server(saved_models):
    with limited_server(saved_models, LIMITS) as running:
        yield running


@pytest.mark.parametrize("is_gzip", [False, True])
@pytest.mark.parametrize("layout", ["inputs", "instances"])
def test_large_json_is_answered_row_by_row(server, table, layout, is_gzip):
    dense, ids, right = table
    document = columns(dense, ids) if layout == "inputs" else instances(dense, ids)
    body = as_json({layout: document})
    headers = {"Content-Encoding": "gzip"} if is_gzip else {}
    url = f"{server.url}/v1/models/scores:predict"
    status, answer = post(url, gzip.compress(body) if is_gzip else body, headers)
    assert status == 200, answer
    np.testing.assert_allclose(*answer.values(), right, atol=1e-5)


def test_large_json_of_examples_is_answered_row_by_row(server, table):
    dense, ids, right = table
    url = f"{server.url}/v1/models/scores"
    examples = as_json(
        {"signature_name": "classify", "examples": instances(dense, ids)}
    )
    _, answer = post(f"{url}:classify", examples)
    scores = [row[1][1] for row in answer["results"]]
    np.testing.assert_allclose(scores, right[:, 0], atol=1e-5)
    document = {
        "signature_name": "regress",
        "context": {"categorical_features": ids[0].tolist()},
        "examples": [{"dense_features": row} for row in dense.tolist()],
    }
    _, answer = post(f"{url}:regress", as_json(document))
    right = expected(dense, np.tile(ids[0], (ROWS, 1)))[:, 0]
    np.testing.assert_allclose(answer["results"], right, atol=1e-5)


def test_large_messages_are_answered_row_by_row(stub, table):
    dense, ids, right = table
    request = predict_request("scores", dense_features=dense, categorical_features=ids)
    request.inputs["dense_features"].ClearField("tensor_content")
    request.inputs["dense_features"].float_val.extend(dense.ravel().tolist())
    texts = {
        "I1": [b"1", b"-2", b""] * (ROWS // 3),
        "I2": [b"0.5"] * ROWS,
        "C1": [b"x" * (row % 7) for row in range(ROWS)],
    }
    raw = predict_request("scores", "raw", **texts)
    lengths = np.arange(ROWS)[:, None] % 7
    numbers = np.stack([np.tile([1, -2, 0], ROWS // 3), np.full(ROWS, 0.5)], 1)
    for message, answer in ((request, right), (raw, expected(numbers, lengths))):
        assert message.ByteSize() > 100_000
        response = stub.Predict(message)
        probabilities = tf.make_ndarray(response.outputs["probability"])
        np.testing.assert_allclose(probabilities, answer, atol=1e-5)
        assert response.model_spec.version.value == 1


def test_large_messages_of_examples_are_answered_row_by_row(stub, table):
    dense, ids, right = table
    classify = classification_pb2.ClassificationRequest()
    classify.model_spec.name, classify.model_spec.signature_name = "scores", "classify"
    examples = classify.input.example_list.examples
    examples.extend(map(example, dense.tolist(), ids.tolist()))
    classifications = stub.Classify(classify).result.classifications
    scores = [row.classes[1].score for row in classifications]
    np.testing.assert_allclose(scores, right[:, 0], atol=1e-5)
    regress = regression_pb2.RegressionRequest(input=classify.input)
    regress.model_spec.name, regress.model_spec.signature_name = "scores", "regress"
    values = [
        regression.value for regression in stub.Regress(regress).result.regressions
    ]
    np.testing.assert_allclose(values, right[:, 0], atol=1e-5)
    request = inference_pb2.MultiInferenceRequest(input=classify.input)
    for name in ("classify", "regress"):
        task = request.tasks.add(method_name=f"tensorflow/serving/{name}")
        task.model_spec.name, task.model_spec.signature_name = "scores", name
    classified, regressed = stub.MultiInference(request).results
    assert classified.classification_result.classifications == classifications
    values = [
        regression.value for regression in regressed.regression_result.regressions
    ]
    np.testing.assert_allclose(values, right[:, 0], atol=1e-5)
