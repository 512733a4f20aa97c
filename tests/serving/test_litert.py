"""Versions that LiteRT runs."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from flatbuffers import flexbuffers
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.lite.python import schema_py_generated
from tensorflow.lite.tools import flatbuffer_utils

from tests.support.serving_thread import embedded, get, post, predict_request
from tfdlrm import serve
from tfdlrm.base.errors import InputError
from tfdlrm.serving.flags import ServeCommand
from tfdlrm.serving.loading import Loading
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.server import ServerSettings


class Lines(tf.Module):
    """Functions of different inputs."""

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, "x")])
    def halve(self, x):
        return {"y": x / 2 + 2}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.float32, "a"),
            tf.TensorSpec([None, 2], tf.int64, "b"),
        ]
    )
    def add(self, a, b):
        total = a + tf.cast(b, tf.float32)
        return {"total": total @ [[1.0], [10.0]], "b": b}


def write(version, content):
    version.mkdir(parents=True)
    (version / "model.tflite").write_bytes(content)


def without_signatures(content):
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    model.signatureDefs = None
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def with_stored_signature(content):
    """Return a model with a signature where TF Serving's older tools put it."""
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    graph = model.subgraphs[0]

    def info(index):
        return meta_graph_pb2.TensorInfo(name=graph.tensors[index].name.decode())

    signature = meta_graph_pb2.SignatureDef(
        inputs={"renamed": info(graph.inputs[0])},
        outputs={"result": info(graph.outputs[0])},
        method_name="tensorflow/serving/predict",
    )
    builder = flexbuffers.Builder()
    with builder.Map():
        builder.Key("serving_default")
        builder.String(signature.SerializeToString().decode("latin-1"))
    buffer = schema_py_generated.BufferT()
    buffer.data = np.frombuffer(bytes(builder.Finish()), np.uint8)
    metadata = schema_py_generated.MetadataT()
    metadata.name, metadata.buffer = b"signature_defs_metadata", len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), metadata]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Directories of models for LiteRT, by name."""
    path = tmp_path_factory.mktemp("litert")
    lines = Lines()
    saved = path / "both" / "1"
    tf.saved_model.save(lines, str(saved), signatures={"serving_default": lines.add})
    convert = tf.lite.TFLiteConverter
    one = convert.from_saved_model(str(saved)).convert()
    (saved / "model.tflite").write_bytes(one)
    write(path / "one" / "1", one)
    two = path / "saved"
    signatures = {"serving_default": lines.halve, "add": lines.add}
    tf.saved_model.save(lines, str(two), signatures=signatures)
    converter = convert.from_saved_model(str(two), signature_keys=list(signatures))
    write(path / "two" / "1", converter.convert())
    functions = [lines.halve.get_concrete_function()]
    converter = convert.from_concrete_functions(functions, lines)
    plain = without_signatures(converter.convert())
    write(path / "plain" / "1", plain)
    write(path / "stored" / "1", with_stored_signature(plain))
    shutil.rmtree(two)
    return path


@pytest.fixture(scope="module")
def server(models):
    names = ("both", "one", "two", "plain", "stored")
    settings = ServerSettings(
        [ModelSettings(name, models / name) for name in names],
        poll_seconds=0,
        loading=Loading(prefers_litert=True),
    )
    with embedded(settings) as running:
        yield running


def predict(stub, model, signature="", **inputs):
    request = predict_request(model, signature, **inputs)
    outputs = stub.Predict(request, timeout=30).outputs
    return {name: tf.make_ndarray(tensor) for name, tensor in outputs.items()}


def columns(rows, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "a": rng.normal(size=(rows, 2)).astype(np.float32),
        "b": rng.integers(0, 9, (rows, 2)),
    }


def totals(a, b):
    return (a + b) @ np.array([[1.0], [10.0]])


@pytest.mark.parametrize(
    ("model", "signature"), [("one", ""), ("two", "add"), ("both", "")]
)
def test_any_number_of_rows_is_answered(stub, model, signature):
    for rows in (1, 3, 3, 300, 2):
        inputs = columns(rows, seed=rows)
        outputs = predict(stub, model, signature, **inputs)
        np.testing.assert_allclose(outputs["total"], totals(**inputs), atol=1e-4)
        np.testing.assert_array_equal(outputs["b"], inputs["b"])


def test_a_model_without_signatures_is_called_by_its_tensors(stub, server):
    status, answer = get(f"{server.url}/v1/models/plain/metadata")
    assert status == 200
    (signature,) = answer["metadata"]["signature_def"]["signature_def"].values()
    assert list(signature["inputs"]) == ["x"]
    (output,) = signature["outputs"]
    outputs = predict(stub, "plain", x=np.array([[2.0], [4.0]], np.float32))
    np.testing.assert_array_equal(outputs[output], [[3.0], [4.0]])


def test_signatures_of_older_tools_are_read(stub):
    outputs = predict(stub, "stored", renamed=np.array([[2.0]], np.float32))
    np.testing.assert_array_equal(outputs["result"], [[3.0]])


def test_other_shapes_are_the_models_business(stub, server):
    url = f"{server.url}/v1/models/two:predict"
    assert post(url, {"instances": [2.0, 3.0]}) == (200, {"predictions": [3.0, 3.5]})
    inputs = columns(2)
    inputs["a"] = inputs["a"][:, :1].repeat(3, 1)
    with pytest.raises(grpc.RpcError) as caught:
        predict(stub, "one", **inputs)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "input a has the shape [2, 3], expected [-1, 2]" in caught.value.details()
    right = columns(2)
    outputs = predict(stub, "one", **right)
    np.testing.assert_allclose(outputs["total"], totals(**right), atol=1e-4)


def test_requests_at_the_same_time_get_their_own_answers(models):
    settings = ServerSettings(
        [ModelSettings("one", models / "one")],
        poll_seconds=0,
        is_batching=False,
        loading=Loading(prefers_litert=True),
    )
    with embedded(settings) as server, ThreadPoolExecutor(8) as clients:

        def ask(seed):
            inputs = columns(1 + seed % 3, seed)
            body = {name: array.tolist() for name, array in inputs.items()}
            url = f"{server.url}/v1/models/one:predict"
            status, answer = post(url, {"inputs": body})
            assert status == 200
            right = totals(**inputs)
            np.testing.assert_allclose(answer["outputs"]["total"], right, atol=1e-4)

        list(clients.map(ask, range(40)))


def test_litert_runs_only_where_it_is_preferred(models, server):
    def device(server):
        with server.models.model("both").use(None, "") as servable:
            return servable.device

    assert "LiteRT" in device(server)
    settings = [ModelSettings("both", models / "both")]
    with embedded(ServerSettings(settings, poll_seconds=0)) as other:
        assert "LiteRT" not in device(other)
    command = ServeCommand(Path("models/m"), prefer_tflite_model=True)
    assert serve.settings(command).loading.prefers_litert


@pytest.mark.parametrize("content", [b"", b"no model", b"\x1c\0\0\0TFL3" + b"\xff" * 9])
def test_a_damaged_file_is_refused(tmp_path, content):
    write(tmp_path / "m" / "1", content)
    settings = ServerSettings(
        [ModelSettings("m", tmp_path / "m")], loading=Loading(prefers_litert=True)
    )
    with pytest.raises(InputError, match="no version of m loads"), embedded(settings):
        raise AssertionError("it cannot be served")
