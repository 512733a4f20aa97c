"""TensorFlow's profiler takes traces of a server over its gRPC port."""

import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_service_pb2_grpc

from tests.support.served_model import save_scores
from tests.support.serving_thread import embedded, predict_request, rows
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.server import ServerSettings


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    base = tmp_path_factory.mktemp("profiled") / "scores"
    save_scores(base / "1")
    return [ModelSettings("scores", base)]


def test_a_trace_is_taken_while_requests_are_answered(models, tmp_path):
    settings = ServerSettings(models, poll_seconds=0, has_profiler=True)
    with embedded(settings) as server:
        tracing = threading.Thread(
            target=tf.profiler.experimental.client.trace,
            args=(f"grpc://{server.address}", str(tmp_path), 500),
        )
        tracing.start()
        dense, ids = rows(1)
        request = predict_request(
            "scores", dense_features=dense, categorical_features=ids
        )
        with grpc.insecure_channel(server.address) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while tracing.is_alive():
                answer = stub.Predict(request, timeout=30).outputs["probability"]
                assert np.isfinite(answer.float_val).all()
        tracing.join()
    (trace,) = tmp_path.rglob("*.xplane.pb")
    assert trace.stat().st_size > 0


def test_without_the_flag_there_is_no_profiler(models):
    settings = ServerSettings(models, poll_seconds=0)
    with embedded(settings) as server, grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary("/tensorflow.ProfilerService/Profile")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=30)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_trace_needs_a_directory(models):
    settings = ServerSettings(models, poll_seconds=0, has_profiler=True)
    with embedded(settings) as server, grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary("/tensorflow.ProfilerService/Profile")
        with pytest.raises(grpc.RpcError, match="has no repository_root"):
            call(b"", timeout=30)
