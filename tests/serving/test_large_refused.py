"""Large requests that hold what no valid one does are refused, and cost little."""

import gzip

import grpc
import numpy as np
import pytest

from tests.support.large_requests import LIMITS
from tests.support.limited_server import code_of, limited_server, still_right
from tests.support.serving_thread import post, predict_request
from tfdlrm.serving.errors import ServingError
from tfdlrm.serving.http.bodies import INLINE_BYTES, JsonBounds, is_small, read_body

MANY = 1_000_000


@pytest.fixture(scope="module")
def server(saved_models):
    with limited_server(saved_models, LIMITS) as running:
        yield running


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    ("path", "body", "message"),
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
def test_what_no_valid_request_holds_is_refused(server, path, body, message):
    url = f"{server.url}/v1/models/scores:{path}"
    status, answer = post(url, gzip.compress(body, 1), {"Content-Encoding": "gzip"})
    assert status == 400 and message in answer["error"]
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


@pytest.mark.slow_variants
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
    tensor.float_val.extend([0.0] * 50_000)  # fewer than the shape says
    with pytest.raises(grpc.RpcError, match=r"20001 rows, expected <= 20000"):
        stub.Predict(request)


@pytest.mark.parametrize(
    ("text", "is_good"),
    [
        (b'["' + b"[{:," * 100 + b'"]', True),
        (b'["\\"' + b"[" * 100 + b'"]', True),
        (b'["\\\\"' + b",[]" * 100 + b"]", False),
        (b"[" + b"0," * 100 + b"0]", False),
        (b'["' + b"," * 100, True),  # cut short: the parser refuses it
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
