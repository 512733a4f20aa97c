"""Random requests: each gets an answer or a reason."""

import json

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow_serving.apis import predict_pb2

from tests.support.limited_server import code_of, limited_server, still_right
from tests.support.serving_thread import post


@pytest.fixture(scope="module")
def server(saved_models):
    with limited_server(saved_models) as running:
        yield running


def tensors():
    """Return a strategy of tensors that are nearly right, or far from it."""
    dims = st.lists(st.integers(-1, 4) | st.just(2**40), max_size=4)
    return st.builds(
        lambda dtype, dims, floats, integers, texts, content: tensor_pb2.TensorProto(
            dtype=dtype,
            tensor_shape=tensor_shape_pb2.TensorShapeProto(
                dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=d) for d in dims]
            ),
            float_val=floats,
            int64_val=integers,
            string_val=texts,
            tensor_content=content,
        ),
        st.sampled_from([0, 1, 2, 7, 9, 10, 14, 99]),
        st.just([1, 2]) | dims,
        st.lists(st.floats(width=32), max_size=3),
        st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
        st.lists(st.binary(max_size=5), max_size=2),
        st.just(b"") | st.binary(max_size=17),
    )


NAMES = ("dense_features", "categorical_features", "I1", "inputs", "x", "")
MODELS = ("scores", "kinds", "", "none")
SIGNATURES = ("", "raw", "regress", "total", "x")

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*NAMES, "b64"]), inner, max_size=3)
    ),
    max_leaves=12,
)

EXPECTED_CODES = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
}


def check_random_grpc(server, stub, model, signature, inputs, output_filter):
    request = predict_pb2.PredictRequest(output_filter=output_filter)
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for name, tensor in inputs.items():
        request.inputs[name].CopyFrom(tensor)
    assert code_of(stub.Predict, request) in EXPECTED_CODES


def check_random_json(server, method, document):
    url = f"{server.url}/v1/models/scores:{method}"
    status, answer = post(url, json.dumps(document).encode())
    assert status in (200, 400, 404), answer
    assert (status == 200) == ("error" not in answer)


def random_requests(number):
    """Return settings and strategies of `number` requests for each protocol."""
    relaxed = settings(
        max_examples=number,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    grpc_given = given(
        st.sampled_from(MODELS),
        st.sampled_from(SIGNATURES),
        st.dictionaries(st.sampled_from(NAMES), tensors(), max_size=3),
        st.lists(st.sampled_from(["probability", "x"]), max_size=2),
    )
    documents = st.fixed_dictionaries(
        {},
        optional={
            "signature_name": st.sampled_from(SIGNATURES) | VALUES,
            "instances": VALUES,
            "inputs": VALUES,
            "examples": VALUES,
            "context": VALUES,
        },
    )
    json_given = given(
        st.sampled_from(["predict", "classify", "regress"]), documents | VALUES
    )
    return relaxed, grpc_given, json_given


def ask_at_random(server, stub, number):
    relaxed, grpc_given, json_given = random_requests(number)

    @relaxed
    @grpc_given
    def over_grpc(model, signature, inputs, output_filter):
        check_random_grpc(server, stub, model, signature, inputs, output_filter)

    @relaxed
    @json_given
    def over_rest(method, document):
        check_random_json(server, method, document)

    over_grpc()
    still_right(server)
    over_rest()
    still_right(server)


def test_random_requests_get_an_answer_or_a_reason(server, stub):
    ask_at_random(server, stub, 60)


@pytest.mark.slow
def test_ten_thousand_random_requests_get_an_answer_or_a_reason(server, stub):
    ask_at_random(server, stub, 5_000)


@pytest.mark.slow
def test_schemathesis_finds_no_contradiction(server):
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis import checks

    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")

    @schema.parametrize()
    def call(case):
        raise NotImplementedError(case)

    response_checks = [
        checks.not_a_server_error,
        schemathesis.specs.openapi.checks.status_code_conformance,
        schemathesis.specs.openapi.checks.content_type_conformance,
        schemathesis.specs.openapi.checks.response_schema_conformance,
    ]
    number = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=20,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def check(case):
            nonlocal number
            number += 1
            response = case.call(timeout=30)
            case.validate_response(response, checks=response_checks)

        check()
    assert number > 100
    still_right(server)
