"""The client, with the embedded server and with servers that fail."""

import gzip
import http.server
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tests.support.served_model import expected
from tests.support.serving_thread import embedded
from tfdlrm.base.errors import InputError
from tfdlrm.client import ClientCommand, score_file
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.server import ServerSettings


@pytest.fixture(scope="module")
def server(saved_models):
    models = [ModelSettings(name, saved_models / name) for name in ("scores", "kinds")]
    with embedded(ServerSettings(models, poll_seconds=0)) as running:
        yield running


NUM_ROWS = 1000


@pytest.fixture
def log(tmp_path):
    """A file of rows I1, I2, C1, and their probabilities."""
    rng = np.random.default_rng(0)
    numbers = rng.integers(-3, 4, (NUM_ROWS, 2))
    lengths = rng.integers(0, 9, NUM_ROWS)
    lines = [
        f"{first}\t{second if second else ''}\t{'x' * length}\n"
        for (first, second), length in zip(
            numbers.tolist(), lengths.tolist(), strict=True
        )
    ]
    path = tmp_path / "rows.tsv"
    path.write_text("".join(lines))
    return path, expected(numbers, lengths[:, np.newaxis]).ravel()


def command(running_server, path, protocol="grpc", **options):
    port = running_server.grpc.port if protocol == "grpc" else running_server.http.port
    defaults = {
        "server": f"127.0.0.1:{port}",
        "protocol": protocol,
        "model_name": "scores",
        "batch_size": 64,
        "retries": 1,
    }
    return ClientCommand(path, path.with_name("out.csv"), **(defaults | options))


def scores_in(path):
    head, *values = path.with_name("out.csv").read_text().splitlines()
    assert head == "probability"
    return np.array(values, float)


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
@pytest.mark.parametrize("variant", ["plain", "gzip", "label", "head"])
def test_rows_are_scored_in_their_order(server, log, protocol, variant):
    path, right = log
    text = path.read_text()
    if variant == "label":
        text = "".join(f"1\t{line}\n" for line in text.splitlines())
    if variant == "head":
        reversed_lines = [
            "\t".join(line.split("\t")[::-1]) for line in text.splitlines()
        ]
        text = "\n".join(["C1\tI2\tI1", *reversed_lines])
    path.write_bytes(
        gzip.compress(text.encode()) if variant == "gzip" else text.encode()
    )
    assert score_file(command(server, path, protocol)) == NUM_ROWS
    np.testing.assert_allclose(scores_in(path), right, atol=1e-6)


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_fields_are_sent_as_utf_8(server, tmp_path, protocol):
    path = tmp_path / "rows.tsv"
    path.write_text("1\t2\t\u00e9\n")  # of two bytes
    assert score_file(command(server, path, protocol)) == 1
    np.testing.assert_allclose(scores_in(path), expected([[1, 2]], [[2]])[0], atol=1e-6)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"1\t2\n", "row 1: has 2 columns, expected 4"),
        (b"1\t2\tx\n1\t2\n", "row 2: has 2 columns, expected 3"),
        (b"1\t2\t\xff\n", r"row 1: column 'C1' is '.*' \(not UTF-8\)"),
        (b'1\t2\tx\n1\t2\t"x"\n', "row 2: column 'C1' has a quote .*--columns"),
        (b"one\t2\tx\n", "the server refuses: StringToNumberOp"),
        pytest.param(
            gzip.compress(b"1\t2\tx\n")[:-9], "is a damaged gzip", id="gzip cut short"
        ),
        pytest.param(
            b"\x1f\x8b\x08" + bytes(7) + b"\xff" * 9, "is a damaged gzip", id="zlib"
        ),
    ],
)
def test_bad_rows_are_said_and_leave_no_output(server, tmp_path, contents, message):
    path = tmp_path / "rows.tsv"
    path.write_bytes(contents)
    with pytest.raises(InputError, match=message):
        score_file(command(server, path))
    assert [path.name for path in tmp_path.iterdir()] == ["rows.tsv"]


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_models_that_take_no_raw_rows_are_refused(server, log, protocol):
    with pytest.raises(InputError, match="no signature raw"):
        score_file(command(server, log[0], protocol, model_name="kinds"))
    with pytest.raises(InputError, match=r"Servable not found.*give --model_name"):
        score_file(command(server, log[0], protocol, model_name="none"))


def test_a_file_that_is_not_there_is_said_before_a_server_is_asked(tmp_path):
    with pytest.raises(InputError, match=r"none\.tsv, expected a file to score"):
        ClientCommand(tmp_path / "none.tsv", tmp_path / "out.csv")


@pytest.mark.parametrize("address", ["http://localhost", "a..b:80"])
def test_an_address_that_is_none_is_said(server, log, address):
    with pytest.raises(InputError, match="expected HOST:PORT"):
        score_file(command(server, log[0], "rest", server=address))


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_server_that_is_not_there_is_said(server, log, protocol):
    with pytest.raises(InputError, match=r"localhost:1 gives no answer after 2 tries"):
        score_file(command(server, log[0], protocol, server="localhost:1"))


class Busy(http.server.BaseHTTPRequestHandler):
    """Refuse the first requests as busy."""

    protocol_version = "HTTP/1.1"
    refusals = 3

    def do_GET(self):
        inputs = {"signature_def": {"raw": {"inputs": {"I1": {}}}}}
        self.answer(200, {"metadata": {"signature_def": inputs}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if Busy.refusals:
            Busy.refusals -= 1
            self.answer(503, {"error": "busy"})
        else:
            rows = [[float(value)] for value in body["inputs"]["I1"]]
            self.answer(200, {"outputs": rows})

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@contextmanager
def http_server(handler):
    """Run a server in a thread; yield its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_busy_server_is_asked_again(tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr("tfdlrm.serving.remote.time.sleep", waits.append)
    path = tmp_path / "rows.tsv"
    path.write_text("0.25\n0.5\n")
    with http_server(Busy) as port:
        client = ClientCommand(
            path,
            tmp_path / "out.csv",
            server=f"127.0.0.1:{port}",
            protocol="rest",
        )
        assert score_file(client) == 2
    assert scores_in(path).tolist() == [0.25, 0.5]
    assert len(waits) == 3 and waits == sorted(waits)


METADATA = {
    "metadata": {"signature_def": {"signature_def": {"raw": {"inputs": ["I1"]}}}}
}


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    ("about", "answer", "message"),
    [
        ("<html>\nhello", None, "metadata is <html> hello, expected the signatures"),
        ({"error": "x"}, None, "expected the signatures"),
        ([1], None, "expected the signatures"),
        (METADATA, "<html>\nhello", "answer to 2 rows has no output probability"),
        (METADATA, {"predictions": [[0.5], [0.5]]}, "has no output"),
        (METADATA, {"outputs": [[0.5]]}, "has no output"),
        (METADATA, {"outputs": [["a"], [0.5]]}, "has no output"),
        (METADATA, {"outputs": [[0.5, 0.5], [0.5]]}, "has no output"),
        (METADATA, (500, ["no"]), r"refuses: 500 \['no'\]"),
        (METADATA, (500, "<html>\nno"), "refuses: 500 <html> no"),
    ],
)
def test_http_of_another_server_is_said_in_one_line(tmp_path, about, answer, message):
    class Other(Busy):
        def do_GET(self):
            self.answer(200, about)

        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.answer(*(answer if isinstance(answer, tuple) else (200, answer)))

        def answer(self, status, document):
            if isinstance(document, str):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(document.encode())
                self.close_connection = True
            else:
                super().answer(status, document)

    path = tmp_path / "rows.tsv"
    path.write_text("1\n2\n")
    with http_server(Other) as port, pytest.raises(InputError, match=message) as caught:
        server = f"127.0.0.1:{port}"
        score_file(ClientCommand(path, tmp_path / "out.csv", server, "rest"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.csv").exists()


def grpc_scored(tmp_path, outputs):
    """Score two rows by a server that always has these outputs."""

    class Other(prediction_service_pb2_grpc.PredictionServiceServicer):
        def GetModelMetadata(self, request, context):  # noqa: N802
            definitions = get_model_metadata_pb2.SignatureDefMap()
            definitions.signature_def["raw"].inputs["I1"].SetInParent()
            answer = get_model_metadata_pb2.GetModelMetadataResponse()
            answer.metadata["signature_def"].Pack(definitions)
            return answer

        def Predict(self, request, context):  # noqa: N802
            return predict_pb2.PredictResponse(outputs=outputs)

    path = tmp_path / "rows.tsv"
    path.write_text("1\n2\n")
    server = grpc.server(ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Other(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        score_file(ClientCommand(path, tmp_path / "out.csv", f"127.0.0.1:{port}"))
    finally:
        server.stop(0).wait()
    return scores_in(path)


def test_probabilities_may_come_as_bytes(tmp_path):
    # TensorFlow's own function writes several numbers this way.
    proto = tf.make_tensor_proto(np.array([[0.25], [0.5]], np.float32))
    assert proto.tensor_content and not proto.float_val
    assert grpc_scored(tmp_path, {"probability": proto}).tolist() == [0.25, 0.5]


@pytest.mark.parametrize(
    "outputs",
    [{}, {"score": tf.make_tensor_proto([1.0, 2.0])}]
    + [{"probability": tf.make_tensor_proto(values)} for values in ([0.5], ["a", "b"])],
)
def test_other_outputs_over_grpc_are_said(tmp_path, outputs):
    with pytest.raises(InputError, match=r"answer to 2 rows has no output"):
        grpc_scored(tmp_path, outputs)
    assert not (tmp_path / "out.csv").exists()
