"""A server that is asked to stop answers what came, and ends with status 0."""

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tests.support.served_model import expected, save_scores
from tests.support.serving_thread import embedded, predict_request, rows
from tfdlrm.base.errors import InputError
from tfdlrm.serving import grpc_server
from tfdlrm.serving import server as server_module
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.remote import with_retries
from tfdlrm.serving.remote_grpc import GrpcModel
from tfdlrm.serving.server import ServerSettings

ASKING = 32


@pytest.fixture
def settings(tmp_path):
    save_scores(tmp_path / "scores" / "1")
    return ServerSettings(
        [ModelSettings("scores", tmp_path / "scores")], poll_seconds=0
    )


class Asking(threading.Thread):
    """A thread that asks until the server refuses."""

    def __init__(self, address, seed):
        super().__init__()
        self.address = address
        self.dense, self.ids = rows(2, seed)
        self.answers = []
        self.end = None

    def run(self):
        request = predict_request(
            "scores", dense_features=self.dense, categorical_features=self.ids
        )
        with grpc.insecure_channel(self.address) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while self.end is None:
                begin = time.monotonic()
                try:
                    response = stub.Predict(request, timeout=60)
                except grpc.RpcError as error:
                    self.end = begin, error.code(), error.details()
                else:
                    answer = tf.make_ndarray(response.outputs["probability"])
                    self.answers.append(answer)


def test_a_stop_answers_what_came_and_refuses_the_rest_as_unavailable(settings):
    with embedded(settings) as server:
        clients = [Asking(server.address, seed) for seed in range(ASKING)]
        for client in clients:
            client.start()
        while not all(client.answers for client in clients):
            time.sleep(0.05)
        stopped = time.monotonic()
    for client in clients:
        client.join()
        begin, code, _ = client.end
        assert begin > stopped and code == grpc.StatusCode.UNAVAILABLE, client.end
        right = expected(client.dense, client.ids)
        np.testing.assert_allclose(client.answers[-1], right, atol=1e-5)


def test_what_comes_too_late_is_refused_with_a_reason(settings, monkeypatch):
    monkeypatch.setattr(grpc_server, "ANSWER_SECONDS", 0.0)
    monkeypatch.setattr(grpc_server, "QUIET_SECONDS", 1.0)
    with embedded(settings) as server:
        client = Asking(server.address, 0)
        client.start()
        while not client.answers:
            time.sleep(0.05)
    client.join()
    assert "the server stops; try again later" in client.end[2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_first_version_loads_is_obeyed_at_once(
    settings, monkeypatch, number
):
    release = threading.Event()

    def load(settings):
        os.kill(os.getpid(), number)
        release.wait(60)
        raise AssertionError("nobody waits for this")

    monkeypatch.setattr(server_module, "EmbeddedServer", load)
    exit_statuses = []
    monkeypatch.setattr(server_module, "_leave", exit_statuses.append)
    server_module.serve(settings)
    assert exit_statuses == [0]  # since the loader is still running
    release.set()


def test_what_does_not_load_is_said_although_it_loads_in_a_thread(tmp_path):
    settings = ServerSettings([ModelSettings("none", tmp_path / "none")])
    with pytest.raises(InputError, match="no version of a model to serve"):
        server_module.serve(settings)


def test_a_second_signal_waits_for_nobody(monkeypatch):
    exit_statuses = []
    monkeypatch.setattr(server_module, "_leave", exit_statuses.append)

    async def ask_twice():
        stop = asyncio.Event()
        for _ in range(2):
            server_module._ask_to_stop(stop, signal.SIGTERM)

    asyncio.run(ask_twice())
    assert exit_statuses == [143]


class Restarting(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Cancel the first requests, as gRPC does when a server stops."""

    cancelled = 2

    def Predict(self, request, context):  # noqa: N802
        if Restarting.cancelled:
            Restarting.cancelled -= 1
            context.abort(grpc.StatusCode.CANCELLED, "Cancelled")
        return predict_pb2.PredictResponse(
            outputs={"probability": tf.make_tensor_proto([[0.25]])}
        )


def test_the_client_asks_again_when_a_stop_cancelled_it(monkeypatch):
    waits = []
    monkeypatch.setattr("tfdlrm.serving.remote.time.sleep", waits.append)
    server = grpc.server(ThreadPoolExecutor(2))
    add = prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server
    add(Restarting(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        model = GrpcModel(f"127.0.0.1:{port}", "m", 30.0, [])
        scores = with_retries(lambda: model.score({"I1": [b"1"]}), 3, "the server")
    finally:
        server.stop(0).wait()
    assert scores.probabilities.tolist() == [0.25] and len(waits) == 2
