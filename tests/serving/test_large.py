"""Large requests, which are read next to the server and answered like small ones."""

import gzip
import json
import os
import signal
import socket
import threading
import time

import grpc
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from tests.support.limited_server import code_of, still_right
from tests.support.processes import run_command_line
from tests.support.served_model import expected, save_kinds, save_scores
from tests.support.serving_thread import embedded, post, predict_request, rows
from tfdlrm.serving.errors import ServingError
from tfdlrm.serving.http.bodies import INLINE_BYTES, JsonBounds, is_small, read_body
from tfdlrm.serving.limits import Limits
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.reader_channel import Channel
from tfdlrm.serving.server import ServerSettings

LIMITS = Limits(message_bytes=4_000_000, rows=20_000, requests=64, seconds=60.0)
ROWS = 9_000
"""More rows than the server reads itself."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    save_scores(directory / "scores" / "1")
    save_kinds(directory / "kinds" / "1")
    models = [ModelSettings(name, directory / name) for name in ("scores", "kinds")]
    with embedded(ServerSettings(models, poll_seconds=0, limits=LIMITS)) as running:
        yield running


@pytest.fixture(scope="module")
def stub(server):
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server.address, options) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def table():
    dense, ids = rows(ROWS)
    return dense, ids, expected(dense, ids)


def as_json(document):
    body = json.dumps(document).encode()
    assert not is_small(body)
    return body


def columns(dense, ids):
    return {"dense_features": dense.tolist(), "categorical_features": ids.tolist()}


def instances(dense, ids):
    pairs = zip(dense.tolist(), ids.tolist(), strict=True)
    return [
        {"dense_features": dense_row, "categorical_features": id_row}
        for dense_row, id_row in pairs
    ]


def reader(server):
    """The process that reads large requests."""
    process = server._readers._processes[0]._process
    assert process is not None and process.poll() is None
    return process


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


def example(dense, ids):
    features = {
        "dense_features": tf.train.Feature(float_list=tf.train.FloatList(value=dense)),
        "categorical_features": tf.train.Feature(
            int64_list=tf.train.Int64List(value=ids)
        ),
    }
    return tf.train.Example(features=tf.train.Features(feature=features))


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


MANY = 1_000_000


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("predict", b'{"instances":[' + b"[]," * MANY + b"[]]}", "lists and objects"),
        ("predict", b'{"inputs":' + b"[" * MANY + b"]" * MANY + b"}", "lists and"),
        (
            "predict",
            b'{"inputs":{"dense_features":[' + b"0," * MANY + b"0]}}",
            "more than",
        ),
        (
            "predict",
            b'{"inputs":{' + b'"a":0,' * (MANY // 2) + b'"a":0}}',
            "names, expected",
        ),
        ("predict", b'{"instances":[NaN,' + b"[]," * MANY + b"[]]}", "lists and"),
        (
            "classify",
            b'{"signature_name":"classify","examples":[' + b"{}," * MANY + b"{}]}",
            "has 1000001 rows",
        ),
        ("predict", b'{"inputs": "' + b"," * MANY + b'"}', "has the inputs"),
        ("predict", b'{"inputs": [' + b" " * MANY, "JSON Parse error"),
        ("predict", b" " * MANY, "JSON Parse error"),
        (
            "predict",
            b'{"signature_name":"' + b"x" * MANY + b'","inputs":1}',
            "Serving signature key",
        ),
    ],
    ids=[
        "lists",
        "nested",
        "zeros",
        "names",
        "NaN",
        "examples",
        "commas",
        "cut short",
        "blank",
        "signature",
    ],
)
def test_what_no_valid_request_holds_is_refused(server, path, body, said):
    url = f"{server.url}/v1/models/scores:{path}"
    status, answer = post(url, gzip.compress(body, 1), {"Content-Encoding": "gzip"})
    assert status == 400 and said in answer["error"]
    still_right(server)


def test_gzip_is_inflated_up_to_the_limit_only(server):
    url, gzipped = (
        f"{server.url}/v1/models/scores:predict",
        {"Content-Encoding": "gzip"},
    )
    bomb = gzip.compress(b" " * 50 * LIMITS.message_bytes, 1)
    assert post(url, bomb, gzipped)[0] == 413
    for damaged in (bomb[: len(bomb) // 100], gzip.compress(b" " * MANY)[:-9]):
        status, answer = post(url, damaged, gzipped)
        assert status == 400 and "the body is no gzip" in answer["error"]


def varint(number):
    if number < 128:
        return bytes([number])
    return bytes([number % 128 + 128]) + varint(number // 128)


def field(number, content):
    return bytes([number * 8 + 2]) + varint(len(content)) + content


@pytest.mark.parametrize(
    ("method", "payload", "code"),
    [
        ("Classify", field(2, b"\x0a\x00" * MANY), "NOT_FOUND"),
        ("Classify", field(2, field(1, b"\x0a\x00" * MANY)), "INVALID_ARGUMENT"),
        ("Predict", b"\x1a\x00" * MANY, "INVALID_ARGUMENT"),
        ("Predict", field(2, field(1, b"x")) * (MANY // 4), "INVALID_ARGUMENT"),
        ("Predict", b"\xff" * MANY, "INVALID_ARGUMENT"),
        ("GetModelMetadata", b"\x12\x00" * MANY, "INVALID_ARGUMENT"),
    ],
    ids=["no model", "examples", "filter", "one name", "nonsense", "metadata"],
)
def test_messages_of_millions_of_fields_are_refused(server, method, payload, code):
    name = b"none" if code == "NOT_FOUND" else b"scores"
    signature = field(3, b"classify") if method == "Classify" else b""
    payload = field(1, field(1, name) + b"") + payload
    if signature:
        payload = field(1, field(1, name) + field(3, b"classify")) + payload
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
        assert code_of(call, payload) == grpc.StatusCode[code]
    still_right(server)


def test_a_tensor_of_too_many_rows_is_refused_before_it_is_converted(stub):
    request = predict_request("scores", categorical_features=np.zeros((1, 2), int))
    tensor = request.inputs["dense_features"]
    tensor.dtype = 1
    for size in (LIMITS.rows + 1, 2):
        tensor.tensor_shape.dim.add(size=size)
    tensor.float_val.extend([0.0] * 50_000)  # that is not all of them
    with pytest.raises(grpc.RpcError, match=r"20001 rows, expected <= 20000"):
        stub.Predict(request)


def test_small_requests_are_answered_while_a_large_one_is_read(server, table):
    dense, ids, right = table
    body = as_json({"inputs": columns(dense, ids)})
    url = f"{server.url}/v1/models/scores:predict"
    assert post(url, body)[0] == 200  # so that there is a process
    process, answers = reader(server), []
    os.kill(process.pid, signal.SIGSTOP)
    try:
        asking = threading.Thread(target=lambda: answers.append(post(url, body)))
        asking.start()
        for _ in range(20):
            still_right(server)
        assert not answers
    finally:
        os.kill(process.pid, signal.SIGCONT)
    asking.join(60)
    np.testing.assert_allclose(answers[0][1]["outputs"], right, atol=1e-5)


def test_a_reader_that_is_killed_is_replaced(server, table):
    dense, ids, right = table
    url = f"{server.url}/v1/models/scores:predict"
    body = as_json({"inputs": columns(dense, ids)})
    assert post(url, body)[0] == 200
    process = reader(server)
    process.kill()
    process.wait()
    np.testing.assert_allclose(post(url, body)[1]["outputs"], right, atol=1e-5)
    assert reader(server).pid != process.pid


def test_what_arrives_at_a_time_is_limited(server, table):
    dense, ids, _ = table
    url = f"{server.url}/v1/models/scores:predict"
    body = as_json({"inputs": columns(dense, ids)})
    size = LIMITS.message_bytes
    head = b"POST /v1/models/scores:predict HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Length: %d\r\n\r\n" % size
    address = ("127.0.0.1", server.http.port)
    connections = [socket.create_connection(address, 60) for _ in range(8)]
    try:
        for connection in connections:
            connection.sendall(head + b" " * (size - 1))
        while server._readers.held_bytes < len(connections) * (size - 1):
            time.sleep(0.05)
        status, answer = post(url, body)
        assert status == 503 and "too many large requests" in answer["error"]
        still_right(server)
    finally:
        for connection in connections:
            connection.close()


def test_a_reader_that_takes_too_long_is_ended(tmp_path, table):
    dense, ids, right = table
    save_scores(tmp_path / "scores" / "1")
    limits = Limits(seconds=3.0)
    models = [ModelSettings("scores", tmp_path / "scores")]
    with embedded(ServerSettings(models, poll_seconds=0, limits=limits)) as server:
        url = f"{server.url}/v1/models/scores:predict"
        body = as_json({"inputs": columns(dense, ids)})
        while post(url, body)[0] == 504:  # the first one waits for the process too
            pass
        first_process = reader(server)
        os.kill(first_process.pid, signal.SIGSTOP)
        assert post(url, body)[0] == 504
        status, answer = post(url, body)
        while status == 504:
            status, answer = post(url, body)
        np.testing.assert_allclose(answer["outputs"], right, atol=1e-5)
        last_process = reader(server)
    assert first_process.poll() is not None and last_process.poll() is not None


@pytest.mark.parametrize(
    ("text", "is_good"),
    [
        (b'["' + b"[{:," * 100 + b'"]', True),
        (b'["\\"' + b"[" * 100 + b'"]', True),
        (b'["\\\\"' + b",[]" * 100 + b"]", False),
        (b"[" + b"0," * 100 + b"0]", False),
        (b'["' + b"," * 100, True),  # cut short: the parser says so
    ],
)
def test_what_stands_in_strings_is_not_counted(text, is_good):
    bounds = JsonBounds(10_000, 20, 20)
    for parts, is_gzip in (([text], False), ([gzip.compress(text)], True)):
        if is_good:
            assert read_body(parts, is_gzip, bounds) == text
        else:
            with pytest.raises(ServingError, match="JSON Parse error: more than"):
                read_body(parts, is_gzip, bounds)


def test_small_and_large_are_distinguished():
    row = b"[" + b"0.123456789," * 38 + b"1]"
    assert is_small(b"[" + b",".join([row] * 256) + b"]")
    assert not is_small(b" " * (INLINE_BYTES + 1))
    assert not is_small(b"[" + b"[]," * 20_000 + b"[]]")


def test_arrays_go_through_the_channel_as_they_are():
    texts = np.array([[b"", b"a\0"], [b"\0", b"bc"]], object)
    arrays = {
        "texts": texts,
        "floats": np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::-1],
        "short": np.array([1.5, -2], ml_dtypes.bfloat16),
        "same": np.broadcast_to(np.int64(7), (1000, 1000)),
        "none": np.zeros((0, 2), np.int64),
        "scalar": np.array(3, np.uint8),
    }
    sender, receiver = map(Channel, socket.socketpair())
    sender.send((True, arrays))
    is_good, received = receiver.receive()
    assert is_good is True and received.keys() == arrays.keys()
    for name, array in arrays.items():
        assert received[name].dtype == array.dtype
        np.testing.assert_array_equal(received[name], array)
    assert received["same"].strides == (0, 0)


def test_the_process_that_reads_loads_no_tensorflow():
    program = "import sys, tfdlrm.serving.reader_process as _; print(*sys.modules)"
    process = run_command_line(f'python -c "{program}"')
    assert process.returncode == 0, process.stderr
    assert "tfdlrm.serving.http.json_requests" in process.stdout.split()
    assert "tensorflow" not in process.stdout.split()
