"""TensorFlow 2 saves classifiers and regressors with the method to predict."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from tests.support.served_model import set_methods
from tests.support.serving_thread import embedded, post
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.server import ServerSettings

INVALID = grpc.StatusCode.INVALID_ARGUMENT


class Native(tf.Module):
    """Functions of examples with the feature `x`, as TensorFlow 2 saves them."""

    def x_of(self, examples):
        spec = {"x": tf.io.FixedLenFeature([1], tf.float32)}
        return tf.io.parse_example(examples, spec)["x"]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def classify(self, inputs):
        return {"scores": self.x_of(inputs) / 2 + 2}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def regress(self, inputs):
        return {"outputs": self.x_of(inputs) / 2 + 3}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def plain(self, x):
        return {"outputs": x}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def other(self, inputs):
        return {"y": self.x_of(inputs)}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("native")
    model = Native()
    names = ("classify", "regress", "plain", "other")
    signatures = {name: getattr(model, name) for name in names}
    signatures["odd"] = model.classify
    tf.saved_model.save(model, str(directory / "native" / "1"), signatures=signatures)
    set_methods(directory / "native" / "1", {"odd": "add_up"})
    return [ModelSettings("native", directory / "native")]


@pytest.fixture(scope="module")
def server(models):
    with embedded(ServerSettings(models, poll_seconds=0)) as running:
        yield running


@pytest.fixture(scope="module")
def strict_stub(models):
    strict = ServerSettings(models, poll_seconds=0, checks_methods=True)
    with embedded(strict) as running, grpc.insecure_channel(running.address) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def fill(request, values, signature, model="native"):
    """Add examples to a request, and the model and signature if it names one."""
    for value in values:
        features = request.input.example_list.examples.add().features
        features.feature["x"].float_list.value.append(value)
    if signature:
        request.model_spec.name, request.model_spec.signature_name = model, signature
    return request


def classify(signature):
    return fill(classification_pb2.ClassificationRequest(), [2.0, 4.0], signature)


def regress(signature):
    return fill(regression_pb2.RegressionRequest(), [2.0, 4.0], signature)


def both():
    request = fill(inference_pb2.MultiInferenceRequest(), [2.0, 4.0], "")
    for name in ("regress", "classify"):
        task = request.tasks.add(method_name=f"tensorflow/serving/{name}")
        task.model_spec.name, task.model_spec.signature_name = "native", name
    return request


def refused(call, request):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=30)
    assert caught.value.code() == INVALID
    return caught.value.details()


def test_scores_without_classes_are_classified(stub):
    response = stub.Classify(classify("classify"), timeout=30)
    rows = response.result.classifications
    assert [[(c.label, c.score) for c in row.classes] for row in rows] == [
        [("", 3.0)],
        [("", 4.0)],
    ]
    assert response.model_spec.signature_name == "classify"


def test_outputs_are_regressed(stub):
    response = stub.Regress(regress("regress"), timeout=30)
    assert [entry.value for entry in response.result.regressions] == [4.0, 5.0]


def test_both_at_once(stub):
    regressed, classified = stub.MultiInference(both(), timeout=30).results
    regressions = regressed.regression_result.regressions
    assert [entry.value for entry in regressions] == [4.0, 5.0]
    rows = classified.classification_result.classifications
    assert [row.classes[0].score for row in rows] == [3.0, 4.0]


def test_over_rest(server):
    url = f"{server.url}/v1/models/native"
    examples = [{"x": 2.0}, {"x": 4.0}]
    body = {"signature_name": "classify", "examples": examples}
    assert post(f"{url}:classify", body) == (
        200,
        {"results": [[["", 3.0]], [["", 4.0]]]},
    )
    body = {"signature_name": "regress", "examples": examples}
    assert post(f"{url}:regress", body) == (200, {"results": [4.0, 5.0]})


def test_the_check_of_methods_refuses_them(strict_stub):
    text = refused(strict_stub.Classify, classify("classify"))
    assert text == (
        "Expected classification signature method_name to be "
        "tensorflow/serving/classify. Was: tensorflow/serving/predict"
    )
    assert "regression" in refused(strict_stub.Regress, regress("regress"))
    assert "Was: tensorflow/serving/predict" in refused(
        strict_stub.MultiInference, both()
    )


@pytest.mark.parametrize(
    ("signature", "text"),
    [
        ("plain", "does not take serialized tf.Examples"),
        ("other", "lacks classes and scores"),
        ("regress", "lacks classes and scores"),
        ("odd", "Was: tensorflow/serving/add_up"),
    ],
)
def test_signatures_of_other_inputs_and_outputs_are_refused(stub, signature, text):
    assert text in refused(stub.Classify, classify(signature))


def test_scores_are_no_regression(stub):
    assert "lacks outputs" in refused(stub.Regress, regress("classify"))


def test_a_keras_2_model_saved_under_a_strategy_is_served(tmp_path):
    keras = pytest.importorskip("tf_keras")
    cpus = [device.name for device in tf.config.list_logical_devices("CPU")]
    assert len(cpus) == 2
    with tf.distribute.MirroredStrategy(cpus).scope():
        layer = keras.layers.Dense(1, name="y", input_shape=(1,))
        model = keras.Sequential([layer])
    layer.set_weights([np.array([[0.5]]), np.array([2.0])])
    model.save(str(tmp_path / "m" / "1"))
    settings = ServerSettings([ModelSettings("m", tmp_path / "m")], poll_seconds=0)
    with embedded(settings) as server:
        url = f"{server.url}/v1/models/m:predict"
        assert post(url, {"instances": [[2.0], [4.0]]}) == (
            200,
            {"predictions": [[3.0], [4.0]]},
        )
