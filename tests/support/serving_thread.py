"""Run the server in a thread of the tests, which have loaded TensorFlow already."""

import asyncio
import json
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from tfdlrm.serving.server import EmbeddedServer, ServerSettings


@contextmanager
def embedded(settings: ServerSettings):
    """Serve on free ports; yields the server."""
    server = EmbeddedServer(replace(settings, port=0, rest_port=0))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(30)
        server.url = f"http://127.0.0.1:{server.http.port}"
        server.address = f"127.0.0.1:{server.grpc.port}"
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def post(url, body, headers=None, context=None):
    """Post JSON, or bytes unchanged; return the status and the document."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return _ask(urllib.request.Request(url, data, headers or {}), context)


def get(url, context=None):
    """Get a page; return the status and the document."""
    return _ask(urllib.request.Request(url), context)


def _ask(request, context):
    try:
        answer = urllib.request.urlopen(request, timeout=30, context=context)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        text = answer.read().decode()
    is_json = answer.headers["content-type"] == "application/json"
    return answer.status, json.loads(text) if is_json else text


def predict_request(model, signature="", **inputs):
    """Return a `PredictRequest`, as TensorFlow's own clients write it."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def rows(number, seed=0):
    """Return dense features and ids for `served_model.Scores`."""
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(number, 2)).astype(np.float32)
    return dense, rng.integers(0, 100, (number, 2))
