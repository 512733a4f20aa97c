"""A server with low limits, and a check that it still answers as it should."""

import time
from contextlib import contextmanager
from dataclasses import replace

import grpc
import numpy as np
import pytest

from tests.support.served_model import expected
from tests.support.serving_thread import embedded, post, rows
from tfdlrm.serving.limits import Limits
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.server import ServerSettings

LIMITS = Limits(message_bytes=100_000, rows=50, requests=64, seconds=3.0)


@contextmanager
def limited_server(directory, limits=LIMITS):
    """Serve the models `scores` and `kinds` of a directory; yields the server."""
    models = [ModelSettings(name, directory / name) for name in ("scores", "kinds")]
    with embedded(ServerSettings(models, poll_seconds=0, limits=limits)) as running:
        yield running


@contextmanager
def impatient(server, seconds=0.5):
    """Let the server wait less for slow clients of HTTP, inside the block."""
    config = server.http._server.config
    limits = replace(config.app._limits, seconds=seconds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config.http_protocol_class, "seconds", seconds)
        patch.setattr(config.app, "_limits", limits)
        yield


def still_right(server):
    """Check that a good request gets its own answer, whatever came before."""
    dense, ids = rows(2, seed=time.time_ns() % 2**31)
    inputs = {"dense_features": dense.tolist(), "categorical_features": ids.tolist()}
    status, answer = post(f"{server.url}/v1/models/scores:predict", {"inputs": inputs})
    assert status == 200, answer
    np.testing.assert_allclose(answer["outputs"], expected(dense, ids), atol=1e-5)


def code_of(call, *arguments, **options):
    """Return the status of a call over gRPC."""
    try:
        call(*arguments, timeout=20, **options)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK
