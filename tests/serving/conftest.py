"""Clients of the server that each file of tests starts as its fixture `server`."""

import grpc
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.address) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)
