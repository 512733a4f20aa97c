"""Requests that no client should send: never a crash, a hang or a wrong row."""

import gzip
import json
import re
import socket
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2

from tests.support.limited_server import (
    LIMITS,
    code_of,
    impatient,
    limited_server,
    still_right,
)
from tests.support.served_model import expected
from tests.support.serving_thread import get, post, predict_request, rows
from tfdlrm.serving.data_types import FLOAT32
from tfdlrm.serving.errors import ServingError
from tfdlrm.serving.tensors import from_proto

PREDICT = "/tensorflow.serving.PredictionService/Predict"


@pytest.fixture(scope="module")
def server(saved_models):
    with limited_server(saved_models) as running:
        yield running


def test_limits_have_their_statuses(server, stub):
    dense, ids = rows(51)
    request = predict_request("scores", dense_features=dense, categorical_features=ids)
    assert code_of(stub.Predict, request) == grpc.StatusCode.INVALID_ARGUMENT
    request.inputs["dense_features"].string_val.append(b"x" * LIMITS.message_bytes)
    assert code_of(stub.Predict, request) == grpc.StatusCode.RESOURCE_EXHAUSTED
    url = f"{server.url}/v1/models/scores:predict"
    inputs = {"dense_features": dense.tolist(), "categorical_features": ids.tolist()}
    assert post(url, {"inputs": inputs})[0] == 400
    assert post(url, b" " * (LIMITS.message_bytes + 1))[0] == 413
    still_right(server)


@pytest.mark.parametrize(
    "tensor",
    [
        {"dims": [2**40, 2]},
        {"dims": [-1, 2]},
        {"dims": [2**62, 2**62]},
        {"dims": [2**40, 2**40, 0]},
        {"dims": [1] * 300},
        {"dims": [1, 2], "float_val": [1.0] * 3},
        {"dims": [1, 2], "tensor_content": b"123"},
        {"dims": [1, 2], "tensor_content": b"1" * 16},
        {"dims": [1, 2], "dtype": 0},
        {"dims": [1, 2], "dtype": 9999},
        {"dims": [1, 2], "dtype": 7, "string_val": [b"1", b"2"]},
    ],
)
def test_tensors_that_contradict_themselves_are_refused(server, stub, tensor):
    shape = tensor_shape_pb2.TensorShapeProto(
        dim=[
            tensor_shape_pb2.TensorShapeProto.Dim(size=size)
            for size in tensor.pop("dims")
        ]
    )
    proto = tensor_pb2.TensorProto(**{"dtype": 1, "tensor_shape": shape} | tensor)
    request = predict_request("scores", categorical_features=np.zeros((1, 2), int))
    request.inputs["dense_features"].CopyFrom(proto)
    assert code_of(stub.Predict, request) == grpc.StatusCode.INVALID_ARGUMENT
    still_right(server)


def test_a_value_for_all_takes_no_memory_before_it_is_checked():
    proto = tensor_pb2.TensorProto(dtype=1, float_val=[1.5])
    proto.tensor_shape.dim.add(size=2**25)
    proto.tensor_shape.dim.add(size=2)
    assert from_proto("x", proto, FLOAT32).strides == (0, 0)
    proto.float_val.append(2.5)
    with pytest.raises(ServingError, match="has 2 values for the shape"):
        from_proto("x", proto, FLOAT32)


def test_missing_values_are_what_tensorflow_takes_them_for(stub):
    request = predict_request("scores", categorical_features=np.zeros((3, 2), int))
    repeated = tf.make_tensor_proto(1.5, shape=[3, 2])
    assert len(repeated.float_val) == 1
    request.inputs["dense_features"].CopyFrom(repeated)
    answer = tf.make_ndarray(stub.Predict(request).outputs["probability"])
    right = expected(np.full((3, 2), 1.5), np.zeros((3, 2)))
    np.testing.assert_allclose(answer, right, atol=1e-6)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error"),
        (b"[1]", "expected an object"),
        (b"{'inputs': 1}", "JSON Parse error"),
        (b'{"inputs": ' + b"[" * 40_000, "JSON Parse error"),
        (b'{"inputs": ' + b"[" * 40_000 + b"NaN" + b"]" * 40_000 + b"}", "JSON Parse"),
        (b'{"inputs": ' + b'{"a":' * 900 + b"1" + b"}" * 901, "Missing named input"),
        (b'{"inputs": NaN}', "has the inputs"),
        (b'{"inputs": [NaN, "\\ud800"]}', "JSON Parse error"),
        (b'{"instances": [], "inputs": []}', "one of the keys"),
        (b'{"instances": []}', "No values"),
        (b'{"instances": {}}', "expected a list"),
        (b'{"instances": 1' + b"0" * 400 + b', "x": NaN}', "the number 1000"),
        (b'{"inputs": [NaN, 1e400]}', "the number 1e400 is infinity"),
        (b'{"instances": [1, 2]}', "has the inputs"),
        (b'{"signature_name": 5, "inputs": 1}', "must be a string"),
        (b'{"signature_name": "../x", "inputs": 1}', "not found"),
        (b'{"inputs": 1' + b"0" * 5000 + b"}", "JSON Parse error"),
        (b"\xff\xfe{}", "JSON Parse error"),
    ],
)
def test_bad_json_is_refused_with_a_reason(server, body, message):
    status, answer = post(f"{server.url}/v1/models/scores:predict", body)
    assert status == 400 and message in answer["error"]
    still_right(server)


@pytest.mark.parametrize(
    ("dense", "message"),
    [
        ([[1, 2, 3]], "[1, 3]"),
        ([[1], [1, 2]], "different sizes"),
        ([[1, "2"]], "a string"),
        ([[1, None]], "null"),
        ([[1, True]], "a bool"),
        ([[1, 1e39]], "beyond float32"),
        ([[1, 2**24 + 1]], "loss of precision"),
        ([[[1, 2]]], "[1, 1, 2]"),
        (1.0, "[]"),
        ([], "[0]"),
    ],
)
def test_json_of_the_wrong_kind_is_refused(server, dense, message):
    inputs = {"dense_features": dense, "categorical_features": [[1, 2]]}
    status, answer = post(f"{server.url}/v1/models/scores:predict", {"inputs": inputs})
    assert status == 400 and message in answer["error"]


def test_compressed_requests_are_read_and_held_to_the_limit(server):
    url, gzipped = (
        f"{server.url}/v1/models/scores:predict",
        {"Content-Encoding": "gzip"},
    )
    dense, ids = rows(2)
    inputs = {"dense_features": dense.tolist(), "categorical_features": ids.tolist()}
    body = json.dumps({"inputs": inputs}).encode()
    assert post(url, gzip.compress(body), gzipped) == post(url, body)
    bomb = gzip.compress(b" " * 10 * LIMITS.message_bytes)
    assert len(bomb) < LIMITS.message_bytes
    assert post(url, bomb, gzipped)[0] == 413
    for damaged in (
        b"no",
        gzip.compress(body)[:-9],
        gzip.compress(body) + b" ",
        gzip.compress(body) + gzip.compress(b" "),
    ):
        status, answer = post(url, damaged, gzipped)
        assert status == 400 and "the body is no gzip" in answer["error"]
    assert post(url, body, {"Content-Encoding": "br"})[0] == 415
    still_right(server)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/..%2f..%2fetc%2fpasswd", 400),
        ("/v1/models/scores/versions/99999999999999999999", 400),
        ("/v1/models/scores/versions/1/../../x", 400),
        ("/v1/models/scores/labels/%2e%2e", 400),
        ("/v1/models/scores:predict", 400),
        ("/v1/models", 400),
        ("/static/../../../etc/passwd", 404),
        ("/v1/models/" + "x" * 5000, 404),
    ],
)
def test_paths_lead_nowhere_else(server, path, status):
    answered_status, answer = get(f"{server.url}{path}")
    assert answered_status == status and list(answer) == ["error"]


def raw_http(server, *parts, pause=0.0):
    """Send bytes; return all that comes until the connection is closed."""
    with socket.create_connection(("127.0.0.1", server.http.port), 20) as connection:
        for data in parts:
            connection.sendall(data)
            time.sleep(pause)
        answer = b""
        while data := connection.recv(65536):
            answer += data
        return answer


def test_slow_clients_are_sent_away(server):
    start = time.monotonic()
    head = b"POST /v1/models/scores:predict HTTP/1.1\r\nHost: x\r\n"
    with impatient(server):
        assert raw_http(server, b"GET / HT") == b""
        answer = raw_http(
            server, head + b"Content-Length: 10\r\nConnection: close\r\n\r\n{"
        )
    assert b" 504 " in answer.splitlines()[0] and b"no answer within 0.5 s" in answer
    assert time.monotonic() - start < 15
    assert b" 400 " in raw_http(server, b"nonsense\r\n\r\n").splitlines()[0]
    still_right(server)


def test_what_was_refused_is_counted_as_what_it_was(server):
    statuses = ("DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT")
    counts_before = [num_answers(server, status) for status in (*statuses, "INTERNAL")]
    head = b"POST /v1/models/scores:predict HTTP/1.1\r\nHost: x\r\n"
    with impatient(server):
        raw_http(server, head + b"Content-Length: 10\r\nConnection: close\r\n\r\n{")
    url = f"{server.url}/v1/models/scores:predict"
    post(url, b" " * (LIMITS.message_bytes + 1))
    post(url, b"{}", {"Content-Encoding": "br"})
    counts_after = [num_answers(server, status) for status in (*statuses, "INTERNAL")]
    assert counts_after == [
        counts_before[0] + 1,
        counts_before[1] + 1,
        counts_before[2] + 1,
        counts_before[3],
    ]
    get(f"{server.url}/v1/models/scores/metadata")
    _, text = get(f"{server.url}/monitoring/prometheus/metrics")
    assert re.search('request_latency_count{[^}]*API="GetModelMetadata"', text)


def num_answers(server, status):
    """Return the number of requests for `scores` that ended with a status."""
    _, text = get(f"{server.url}/monitoring/prometheus/metrics")
    sample = rf'request_count{{model_name="scores",status="{status}"}} (\d+)'
    return sum(map(int, re.findall(sample, text)))


def test_clients_that_hang_up_are_cancelled_and_fill_no_log(server, caplog):
    counts_before = [
        num_answers(server, status) for status in ("CANCELLED", "INTERNAL")
    ]
    head = b"POST /v1/models/scores:predict HTTP/1.1\r\nHost: x\r\n"
    with socket.create_connection(("127.0.0.1", server.http.port), 20) as connection:
        connection.sendall(head + b"Content-Length: 10\r\n\r\n{")
        time.sleep(0.2)
    still_right(server)
    counts_after = [num_answers(server, status) for status in ("CANCELLED", "INTERNAL")]
    assert counts_after == [counts_before[0] + 1, counts_before[1]]
    assert not caplog.records


def test_bytes_that_are_no_message_are_an_invalid_argument(server, channel):
    call = channel.unary_unary(PREDICT)
    for payload in (b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x0f"):
        assert code_of(call, payload) == grpc.StatusCode.INVALID_ARGUMENT
    missing = channel.unary_unary("/tensorflow.serving.PredictionService/Nothing")
    assert code_of(missing, b"") == grpc.StatusCode.UNIMPLEMENTED
    still_right(server)


def test_cancelled_calls_and_deadlines_leave_nothing_behind(server, stub):
    dense, ids = rows(50)
    request = predict_request("scores", dense_features=dense, categorical_features=ids)
    futures = [stub.Predict.future(request) for _ in range(60)]
    for future in futures[::2]:
        future.cancel()
    for future in futures[1::2]:
        answer = tf.make_ndarray(future.result(20).outputs["probability"])
        np.testing.assert_allclose(answer, expected(dense, ids), atol=1e-5)
    late = stub.Predict.future(request, timeout=-1)
    assert late.exception(20).code() == grpc.StatusCode.DEADLINE_EXCEEDED
    still_right(server)


def test_one_bad_row_does_not_spoil_the_requests_next_to_it(server, stub):
    dense, ids = rows(1)
    requests = [
        predict_request(
            "scores",
            dense_features=dense + index if index % 3 else dense * np.nan,
            categorical_features=ids,
        )
        for index in range(60)
    ]
    futures = [stub.Predict.future(request) for request in requests]
    for index, future in enumerate(futures):
        if index % 3:
            answer = future.result(20).outputs["probability"].float_val
            right = expected(dense + index, ids).ravel()
            np.testing.assert_allclose(answer, right, atol=1e-5)
        else:
            assert future.exception(20).code() == grpc.StatusCode.INVALID_ARGUMENT
