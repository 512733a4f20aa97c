"""Conformance with TF Serving's protocols, checked by independent clients."""

import base64
import json
import shutil
import subprocess
import sys

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_fd_to_metric_families
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    prediction_log_pb2,
    regression_pb2,
)

from tests.support.processes import ROOT
from tests.support.served_model import example, expected
from tests.support.serving_thread import get, post, predict_request, rows
from tests.support.versioned_server import versioned_server
from tfdlrm.exporting.versions import EXTRA_DIRECTORY, WARM_UP_FILE
from tfdlrm.serving.errors import ServingError
from tfdlrm.serving.servable import Servable
from tfdlrm.serving.warmup import warm_up


@pytest.fixture(scope="module")
def server(versioned_models):
    with versioned_server(versioned_models) as running:
        yield running


def scores_of(response):
    return tf.make_ndarray(response.outputs["probability"])


def refusal_of(call, request, code):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=30)
    assert caught.value.code() == code, caught.value
    return caught.value.details()


@pytest.mark.parametrize("number", [1, 3, 300])
def test_predict_gives_every_row_its_probability(stub, number):
    dense, ids = rows(number)
    request = predict_request("scores", dense_features=dense, categorical_features=ids)
    response = stub.Predict(request)
    np.testing.assert_allclose(
        scores_of(response), expected(dense, ids, 1.0), atol=1e-6
    )
    assert len(response.outputs["probability"].float_val) == number
    spec = response.model_spec
    assert (spec.name, spec.version.value) == ("scores", 20)
    assert spec.signature_name == "serving_default"


def test_versions_and_labels_choose_the_model(stub):
    dense, ids = rows(2)
    request = predict_request("scores", dense_features=dense, categorical_features=ids)
    for version, bias in ((1, 0.0), (20, 1.0)):
        request.model_spec.version.value = version
        answer = scores_of(stub.Predict(request))
        np.testing.assert_allclose(answer, expected(dense, ids, bias), atol=1e-6)
    request.model_spec.version_label = "stable"
    assert stub.Predict(request).model_spec.version.value == 1
    request.model_spec.version_label = "gone"
    text = refusal_of(stub.Predict, request, grpc.StatusCode.NOT_FOUND)
    assert text == "Servable not found for request: Specific(scores, 7)"
    request.model_spec.version_label = "nightly"
    text = refusal_of(stub.Predict, request, grpc.StatusCode.INVALID_ARGUMENT)
    assert text == "Unrecognized servable version label: nightly"


def test_an_output_filter_chooses_the_outputs(stub):
    request = predict_request(
        "kinds",
        doubles=np.array([[1.0, 2.0]]),
        flags=np.array([True]),
        texts=np.array([b"a\0\xff"], object),
        bytes=np.array([255], np.uint8),
    )
    answer = stub.Predict(request).outputs
    assert set(answer) == {"doubles", "flags", "texts", "raw_bytes", "bytes"}
    assert list(answer["doubles"].double_val) == [2.0, 4.0]
    assert list(answer["flags"].bool_val) == [False]
    assert list(answer["texts"].string_val) == [b"a\0\xff"]
    assert tf.make_ndarray(answer["bytes"]) == np.array([255], np.uint8)
    request.output_filter.append("flags")
    assert set(stub.Predict(request).outputs) == {"flags"}
    request.output_filter.append("nothing")
    refusal_of(stub.Predict, request, grpc.StatusCode.INVALID_ARGUMENT)


def test_classify_regress_and_both_at_once(stub):
    dense, ids = rows(3)
    click = expected(dense, ids, 1.0).ravel()
    classify = classification_pb2.ClassificationRequest()
    classify.model_spec.name, classify.model_spec.signature_name = "scores", "classify"
    classify.input.example_list.examples.extend(map(example, dense, ids))
    classifications = stub.Classify(classify).result.classifications
    assert [[entry.label for entry in row.classes] for row in classifications] == [
        ["0", "1"]
    ] * 3
    scores = [[entry.score for entry in row.classes] for row in classifications]
    np.testing.assert_allclose(scores, np.stack([1 - click, click], 1), atol=1e-6)

    # The ids are the same for all examples, and come in the context.
    regress = regression_pb2.RegressionRequest()
    regress.model_spec.name, regress.model_spec.signature_name = "scores", "regress"
    context = regress.input.example_list_with_context
    context.context.CopyFrom(example([], ids[0]))
    del context.context.features.feature["dense_features"]
    for row in dense:
        row_example = context.examples.add()
        row_example.CopyFrom(example(row, []))
        del row_example.features.feature["categorical_features"]
    regressions = stub.Regress(regress).result.regressions
    values = [regression.value for regression in regressions]
    right = expected(dense, np.tile(ids[0], (3, 1)), 1.0).ravel()
    np.testing.assert_allclose(values, right, atol=1e-6)

    request = inference_pb2.MultiInferenceRequest(input=classify.input)
    for name in ("classify", "regress"):
        task = request.tasks.add(method_name=f"tensorflow/serving/{name}")
        task.model_spec.name, task.model_spec.signature_name = "scores", name
    classified, regressed = stub.MultiInference(request).results
    assert classified.classification_result.classifications == classifications
    regressions = regressed.regression_result.regressions
    values = [regression.value for regression in regressions]
    np.testing.assert_allclose(values, click, atol=1e-6)


def test_metadata_and_status(stub, channel):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "scores"
    refusal_of(stub.GetModelMetadata, request, grpc.StatusCode.INVALID_ARGUMENT)
    request.metadata_field.append("signature_def")
    answer = stub.GetModelMetadata(request)
    definitions = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(definitions)
    default = definitions.signature_def["serving_default"]
    assert set(default.inputs) == {"dense_features", "categorical_features"}
    assert answer.model_spec.version.value == 20

    models = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "scores"
    statuses = models.GetModelStatus(request).model_version_status
    assert [(status.version, status.state) for status in statuses] == [
        (20, 30),
        (1, 30),
    ]
    request.model_spec.name = "nothing"
    refusal_of(models.GetModelStatus, request, grpc.StatusCode.NOT_FOUND)
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "tensorflow.serving.PredictionService"):
        check = health_pb2.HealthCheckRequest(service=service)
        assert health.Check(check).status == health_pb2.HealthCheckResponse.SERVING


def test_what_cannot_be_answered_is_refused_with_the_reason(stub):
    dense, ids = rows(2)
    inputs = {"dense_features": dense, "categorical_features": ids}
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    cases = [
        ("", "", inputs, invalid, "no name"),
        ("nothing", "", inputs, grpc.StatusCode.NOT_FOUND, "Latest(nothing)"),
        ("../scores", "", inputs, grpc.StatusCode.NOT_FOUND, "../scores"),
        ("scores", "x", inputs, grpc.StatusCode.FAILED_PRECONDITION, '"x" not found'),
        ("scores", "", {"dense_features": dense}, invalid, "{categorical_features}"),
        ("scores", "", {**inputs, "more": 1.0}, invalid, "Sent extra: {more}"),
        (
            "scores",
            "",
            {**inputs, "dense_features": dense.astype(float)},
            invalid,
            "float64",
        ),
        ("scores", "", {**inputs, "dense_features": dense[:, :1]}, invalid, "[2, 1]"),
        (
            "scores",
            "",
            {**inputs, "dense_features": dense[:1]},
            invalid,
            "number of rows",
        ),
        (
            "scores",
            "",
            {**inputs, "dense_features": dense * np.nan},
            invalid,
            "not finite",
        ),
    ]
    for model, signature, request_inputs, code, text in cases:
        request = predict_request(model, signature, **request_inputs)
        assert text in refusal_of(stub.Predict, request, code)
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = "scores", "regress"
    request.input.example_list.examples.append(example(dense[0], ids[0]))
    assert "regress" in refusal_of(stub.Classify, request, invalid)
    request.model_spec.signature_name = "classify"
    del request.input.example_list.examples[:]
    assert refusal_of(stub.Classify, request, invalid) == "Input is empty."


def test_predict_answers_classifiers_and_regressors_too(stub, server):
    dense, ids = rows(2)
    click = expected(dense, ids, 1.0).ravel()
    examples = [
        example(*row).SerializeToString() for row in zip(dense, ids, strict=True)
    ]
    request = predict_request("scores", "classify", inputs=np.array(examples, object))
    scores = tf.make_ndarray(stub.Predict(request).outputs["scores"])
    np.testing.assert_allclose(scores[:, 1], click, atol=1e-6)
    texts = [{"b64": base64.b64encode(text).decode()} for text in examples]
    status, answer = post(
        f"{server.url}/v1/models/scores:predict",
        {"signature_name": "regress", "inputs": texts},
    )
    assert status == 200
    np.testing.assert_allclose(np.ravel(answer["outputs"]), click, atol=1e-6)


def test_predict_refuses_other_methods_over_both_protocols(stub, server):
    """TF Serving does so too, in `VerifySignature` of its predict_util.cc."""
    request = predict_request("odd", "total", x=np.array([1.0], np.float32))
    text = refusal_of(stub.Predict, request, grpc.StatusCode.INTERNAL)
    assert text == (
        "Expected prediction signature method_name to be one of "
        "{tensorflow/serving/predict, tensorflow/serving/classify, "
        "tensorflow/serving/regress}. Was: tensorflow/serving/add_up"
    )
    document = {"signature_name": "total", "inputs": [1.0]}
    url = f"{server.url}/v1/models/odd:predict"
    assert post(url, document) == (500, {"error": text})


def test_a_warm_up_by_another_method_is_refused(versioned_models, tmp_path):
    version = shutil.copytree(versioned_models / "odd" / "1", tmp_path / "1")
    path = version / EXTRA_DIRECTORY / WARM_UP_FILE
    path.parent.mkdir(exist_ok=True)
    log = prediction_log_pb2.PredictionLog()
    request = predict_request("odd", "total", x=np.array([1.0], np.float32))
    log.predict_log.request.CopyFrom(request)
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(log.SerializeToString())
    with pytest.raises(ServingError, match=r"record 0: .* Was: .*/add_up") as error:
        warm_up(Servable("odd", 1, version))
    assert error.value.code == grpc.StatusCode.INTERNAL


def test_prometheus_reads_the_metrics(server, stub):
    dense, ids = rows(2)

    def read_metrics():
        status, text = get(f"{server.url}/monitoring/prometheus/metrics")
        assert status == 200
        families = text_fd_to_metric_families(iter(text.splitlines(keepends=True)))
        return {
            (sample.name.removesuffix("_total"), *sample.labels.values()): sample.value
            for family in families
            for sample in family.samples
        }

    counts_before = read_metrics()
    request = predict_request("scores", dense_features=dense, categorical_features=ids)
    for _ in range(3):
        stub.Predict(request)
    counts_after = read_metrics()

    def risen(*key):
        return counts_after[key] - counts_before.get(key, 0)

    name = ":tensorflow:serving:"
    assert risen(f"{name}request_count", "scores", "OK") == 3
    latency = (f"{name}request_latency_count", "scores", "Predict", "GRPC")
    assert risen(*latency) == 3
    assert risen(f"{name}request_example_count", "scores") == 6
    assert risen(f"{name}request_example_counts_bucket", "scores", "2") == 3
    assert risen(f"{name}request_example_counts_bucket", "scores", "1") == 0
    assert 1 <= risen(":tensorflow:core:graph_runs") <= 3
    loads = [key for key in counts_after if key[0].endswith("load_attempt_count")]
    assert [key[-1] for key in loads] == ["success"] * 4


OVMS = """
import sys, json, numpy as np, ovmsclient
(address,) = sys.argv[1:]
dense, ids = np.array([[1, 2], [3, 4]], np.float32), np.array([[1, 2], [3, 4]])
inputs = {"dense_features": dense, "categorical_features": ids}
client = ovmsclient.make_grpc_client(address)
metadata = client.get_model_metadata("scores")
print(json.dumps({
    "grpc": client.predict(inputs, "scores").tolist(),
    "status": client.get_model_status("scores")[20]["state"],
    "inputs": {name: spec["shape"] for name, spec in metadata["inputs"].items()},
}))
"""


def test_ovmsclient_is_served(server):
    pytest.importorskip("ovmsclient", exc_type=ImportError)
    process = subprocess.run(
        [sys.executable, "-c", OVMS, server.address],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert process.returncode == 0, process.stderr
    answer = json.loads(process.stdout)
    dense, ids = np.array([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4]])
    np.testing.assert_allclose(answer["grpc"], expected(dense, ids, 1.0), atol=1e-6)
    assert answer["status"] == "AVAILABLE"
    assert answer["inputs"]["dense_features"] == [-1, 2]
