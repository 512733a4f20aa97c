"""Models, and clients of the server that each file starts as its fixture `server`."""

import grpc
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from tests.support.large_requests import ROWS
from tests.support.made_once import made_once
from tests.support.served_model import expected, save_kinds, save_scores
from tests.support.serving_thread import rows
from tests.support.versioned_server import save_versions


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory):
    """Directory of the models `scores` and `kinds`, one version of each."""

    def save(directory):
        save_scores(directory / "scores" / "1")
        save_kinds(directory / "kinds" / "1")

    return made_once(tmp_path_factory, "saved_models", save)


@pytest.fixture(scope="session")
def versioned_models(tmp_path_factory):
    """Directory of models for `versioned_server`."""
    return made_once(tmp_path_factory, "versioned_models", save_versions)


@pytest.fixture(scope="session")
def table():
    """Dense features and ids of a large request, and their probabilities."""
    dense, ids = rows(ROWS)
    return dense, ids, expected(dense, ids)


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.address) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)
