"""A share of the requests is logged, and answers never wait for the log."""

import os
import threading
import time

import grpc
import numpy as np
import pytest
from google.protobuf.text_format import Parse
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
from tensorflow_serving.config import model_server_config_pb2

from tests.support.served_model import expected, save_scores
from tests.support.serving_thread import embedded, get, post, predict_request, rows
from tfdlrm.base.errors import InputError
from tfdlrm.data.records import read_records, record_footer, record_header
from tfdlrm.exporting.versions import EXTRA_DIRECTORY, WARM_UP_FILE
from tfdlrm.serving import log_files, request_log
from tfdlrm.serving.log_files import LogFiles
from tfdlrm.serving.log_settings import RequestLogging
from tfdlrm.serving.metrics import Metrics
from tfdlrm.serving.models import Models
from tfdlrm.serving.policies import ModelSettings, from_config
from tfdlrm.serving.server import ServerSettings

METRICS = "/monitoring/prometheus/metrics"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("logged") / "scores"
    save_scores(path / "4", bias=1.0)
    return path


def served(saved, prefix, rate=1.0):
    """Serve a model whose requests are logged."""
    logging = RequestLogging(rate, str(prefix))
    return embedded(ServerSettings([ModelSettings("scores", saved, logging=logging)]))


def logs_in(directory):
    """Return what the finished files of a directory hold, in their order."""
    return [
        PredictionLog.FromString(payload)
        for path in sorted(directory.glob("*.tfrecord"))
        for _, payload in read_records(path)
    ]


def example(dense, ids):
    from tensorflow.train import Example, Feature, Features, FloatList, Int64List

    return Example(
        features=Features(
            feature={
                "dense_features": Feature(float_list=FloatList(value=dense)),
                "categorical_features": Feature(int64_list=Int64List(value=ids)),
            }
        )
    )


def array(proto):
    """Return the values of a `TensorProto` that the server wrote."""
    import tensorflow as tf

    return tf.make_ndarray(proto)


def test_requests_of_both_protocols_are_logged_with_their_answers(saved, tmp_path):
    dense, ids = rows(3)
    before = int(time.time())
    with served(saved, f"{tmp_path}/") as server:
        with grpc.insecure_channel(server.address) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            request = predict_request(
                "scores", dense_features=dense, categorical_features=ids
            )
            answer = stub.Predict(request, timeout=30)
        instances = [
            {"dense_features": x.tolist(), "categorical_features": y.tolist()}
            for x, y in zip(dense, ids, strict=True)
        ]
        url = f"{server.url}/v1/models/scores:predict"
        assert post(url, {"instances": instances})[0] == 200
    first, second = logs_in(tmp_path)
    assert first.predict_log.response == answer
    for logged in (first, second):
        spec = logged.log_metadata.model_spec
        assert (spec.name, spec.version.value) == ("scores", 4)
        assert logged.log_metadata.sampling_config.sampling_rate == 1.0
        assert before <= logged.log_metadata.timestamp_secs <= time.time()
        call = logged.predict_log
        assert call.request.model_spec.signature_name == "serving_default"
        assert not call.request.model_spec.HasField("version")
        np.testing.assert_array_equal(
            array(call.request.inputs["dense_features"]), dense
        )
        np.testing.assert_allclose(
            array(call.response.outputs["probability"]),
            expected(dense, ids, 1.0),
            rtol=1e-6,
        )


def test_every_kind_of_call_is_logged(saved, tmp_path):
    dense, ids = rows(2)
    examples = [example(*row) for row in zip(dense, ids, strict=True)]
    with (
        served(saved, tmp_path / "clicks") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        classify = classification_pb2.ClassificationRequest()
        regress = regression_pb2.RegressionRequest()
        several = inference_pb2.MultiInferenceRequest()
        for request, signature in ((classify, "classify"), (regress, "regress")):
            request.model_spec.name = "scores"
            request.model_spec.signature_name = signature
            request.input.example_list.examples.extend(examples)
            task = several.tasks.add(method_name=f"tensorflow/serving/{signature}")
            task.model_spec.CopyFrom(request.model_spec)
        several.input.CopyFrom(classify.input)
        answers = (
            stub.Classify(classify, timeout=30),
            stub.Regress(regress, timeout=30),
            stub.MultiInference(several, timeout=30),
        )
    logged = logs_in(tmp_path)
    calls = (
        logged[0].classify_log,
        logged[1].regress_log,
        logged[2].multi_inference_log,
    )
    assert [call.request for call in calls] == [classify, regress, several]
    assert tuple(call.response for call in calls) == answers
    assert list(tmp_path.glob("clicks.scores.*.tfrecord"))


def test_only_the_sampled_share_is_logged_and_refusals_are_not(
    saved, tmp_path, monkeypatch
):
    chances = iter([0.1, 0.6, 0.2, 0.5, 0.9])
    monkeypatch.setattr(request_log.random, "random", lambda: next(chances))
    with served(saved, tmp_path / "x", rate=0.5) as server:
        url = f"{server.url}/v1/models/scores:predict"
        row = {"dense_features": [1.0, 2.0], "categorical_features": [3, 4]}
        for _ in range(5):
            assert post(url, {"instances": [row]})[0] == 200
        assert post(url, {"instances": [{"dense_features": [1.0, 2.0]}]})[0] == 400
        deadline = time.monotonic() + 30
        while "logged_requests{" not in (text := get(f"{server.url}{METRICS}")[1]):
            assert time.monotonic() < deadline
    assert ':tfdlrm:serving:logged_requests{model_name="scores"} 2' in text
    assert len(logs_in(tmp_path)) == 2


@pytest.mark.slow
def test_logged_requests_warm_a_version_up(saved, tmp_path):
    with served(saved, f"{tmp_path}/logs/") as server:
        body = {"inputs": {"I1": ["1"], "I2": [""], "C1": ["ab"]}}
        body["signature_name"] = "raw"
        assert post(f"{server.url}/v1/models/scores:predict", body)[0] == 200
    (file,) = (tmp_path / "logs").glob("*.tfrecord")
    version = tmp_path / "scores" / "5"
    save_scores(version)
    (version / EXTRA_DIRECTORY).mkdir(exist_ok=True)
    (version / EXTRA_DIRECTORY / WARM_UP_FILE).write_bytes(file.read_bytes())
    models = Models([ModelSettings("scores", version.parent)], Metrics())
    models.load()
    assert models.model("scores").available == [5]


def test_answers_do_not_wait_for_a_slow_disk(saved, tmp_path, monkeypatch):
    may_write = threading.Event()
    monkeypatch.setattr(request_log, "MOST_WAITING_BYTES", 100)
    write = LogFiles.write

    def slow_write(files, payload):
        may_write.wait(30)
        write(files, payload)

    monkeypatch.setattr(LogFiles, "write", slow_write)
    with served(saved, tmp_path / "x") as server:
        url = f"{server.url}/v1/models/scores:predict"
        row = {"dense_features": [1.0, 2.0], "categorical_features": [3, 4]}
        for _ in range(8):
            assert post(url, {"instances": [row]})[0] == 200
        text = get(f"{server.url}{METRICS}")[1]
        may_write.set()
    dropped = ':tfdlrm:serving:unlogged_requests{model_name="scores",reason="queue"} '
    (count,) = [line for line in text.splitlines() if line.startswith(dropped)]
    assert int(count.removeprefix(dropped)) + len(logs_in(tmp_path)) == 8


def test_a_disk_that_refuses_is_told_and_counted(saved, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    with served(saved, tmp_path / "file" / "logs") as server:
        url = f"{server.url}/v1/models/scores:predict"
        row = {"dense_features": [1.0, 2.0], "categorical_features": [3, 4]}
        assert post(url, {"instances": [row]})[0] == 200
        deadline = time.monotonic() + 30
        while 'reason="disk"' not in get(f"{server.url}{METRICS}")[1]:
            assert time.monotonic() < deadline
    assert "requests are not logged: " in caplog.text


def test_files_are_rotated_and_the_oldest_removed(tmp_path):
    files = LogFiles(f"{tmp_path}/", "m", max_bytes=16 * 100)
    for number in range(40):
        files.write(f"{number:03d}".encode() * 30)  # 106 bytes with its frame
    files.close()
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 15  # of a record each
    assert sum(path.stat().st_size for path in paths) <= 1600
    kept = [payload[:3] for path in paths for _, payload in read_records(path)]
    assert kept == [f"{number:03d}".encode() for number in range(25, 40)]


def test_an_old_file_is_finished(tmp_path, monkeypatch):
    files = LogFiles(f"{tmp_path}/", "m", max_bytes=2**20)
    files.write(b"first")
    files.close_old()
    (path,) = tmp_path.iterdir()
    assert path.name.endswith(".tfrecord.open")
    monkeypatch.setattr(log_files, "FILE_SECONDS", 0.0)
    files.close_old()
    (path,) = tmp_path.iterdir()
    assert list(read_records(path)) == [(0, b"first")]


def test_the_file_of_a_killed_server_is_finished_and_one_in_use_left(tmp_path):
    whole = record_header(5) + b"first" + record_footer(b"first")
    name = "m.20240501T080000Z-7-00000.tfrecord"
    (tmp_path / f"{name}.open").write_bytes(whole + whole[:9])
    (tmp_path / "m.20240501T080000Z-8-00000.tfrecord.open").write_bytes(whole[:3])
    running = LogFiles(f"{tmp_path}/", "m", max_bytes=2**20)
    running.write(b"second")
    assert (tmp_path / name).read_bytes() == whole
    other = LogFiles(f"{tmp_path}/", "m", max_bytes=2**20)
    other.write(b"third")
    other.close()
    assert len(list(tmp_path.glob("*.open"))) == 1
    running.close()
    assert len(list(tmp_path.glob("*.tfrecord"))) == 3


def test_a_write_that_fails_in_the_middle_leaves_whole_records(tmp_path):
    files = LogFiles(f"{tmp_path}/", "m", max_bytes=2**20)
    files.write(b"first")
    file = files._file

    class Full:
        """A file on a disk with room for three bytes."""

        def write(self, record):
            return os.write(file.fileno(), record[:3])

        truncate, __enter__, __exit__ = file.truncate, file.__enter__, file.__exit__

    files._file = Full()
    with pytest.raises(OSError, match="No space left"):
        files.write(b"second")
    (path,) = tmp_path.iterdir()
    assert list(read_records(path)) == [(0, b"first")]


def config(logging):
    text = f"""
        model_config_list {{ config {{
            name: 'scores' base_path: '/models/scores' logging_config {{ {logging} }}
        }} }}"""
    return Parse(text, model_server_config_pb2.ModelServerConfig())


def test_a_model_config_says_what_is_logged():
    logging = (
        "sampling_config { sampling_rate: 0.01 } "
        "log_collector_config { filename_prefix: '/logs/clicks' }"
    )
    (settings,) = from_config(config(logging), "models.config")
    assert settings.logging == RequestLogging(0.01, "/logs/clicks")
    (settings,) = from_config(config("sampling_config { sampling_rate: 0 }"), "x")
    assert settings.logging is None


@pytest.mark.parametrize(
    ("logging", "message"),
    [
        (
            "sampling_config { sampling_rate: 0.1 }",
            r"filename_prefix is '', expected the begin of a path on this machine",
        ),
        (
            "sampling_config { sampling_rate: 1.5 } "
            "log_collector_config { filename_prefix: 'x' }",
            r"sampling_rate is 1.5, expected a share above 0 and up to 1",
        ),
        (
            "sampling_config { sampling_rate: 0.1 } "
            "log_collector_config { type: 'kafka' filename_prefix: 'x' }",
            r"log_collector_config.type of scores is 'kafka', expected 'tfrecord'",
        ),
        (
            "sampling_config { sampling_rate: 0.1 } "
            "log_collector_config { filename_prefix: 's3://logs/x' }",
            r"filename_prefix is 's3://logs/x', expected the begin of a path on this",
        ),
    ],
)
def test_what_cannot_be_logged_is_refused(logging, message):
    with pytest.raises(InputError, match=message):
        from_config(config(logging), "models.config")


def test_logging_begins_and_ends_with_the_model_config(saved, tmp_path):
    plain = ModelSettings("scores", saved)
    logging = RequestLogging(1.0, f"{tmp_path}/")
    with embedded(ServerSettings([plain], poll_seconds=0)) as server:
        url = f"{server.url}/v1/models/scores:predict"
        row = {"dense_features": [1.0, 2.0], "categorical_features": [3, 4]}
        for settings in (plain, ModelSettings("scores", saved, logging=logging), plain):
            server.models.reload([settings])
            assert post(url, {"instances": [row]})[0] == 200
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob("*.tfrecord")):  # before the server ends
            assert time.monotonic() < deadline
    assert len(logs_in(tmp_path)) == 1
