"""TF Serving's gRPC services on asyncio."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

from tfdlrm.base.errors import InputError
from tfdlrm.serving.errors import ServingError, refuse
from tfdlrm.serving.http.bodies import INLINE_BYTES
from tfdlrm.serving.predictor import Predictor
from tfdlrm.serving.reader_channel import Task
from tfdlrm.serving.requests import NamedArrays, as_only_input
from tfdlrm.serving.servable import Signature

log = logging.getLogger("tfdlrm.serving")

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"

INLINE_EXAMPLES_BYTES = 2**16
"""Larger requests with examples are read in a process next to the server."""

ANSWER_SECONDS = 0.5
"""How long a server that is to stop still answers what comes.

gRPC queues requests that Python has not taken yet, and cancels them when it stops.
"""

QUIET_SECONDS = 0.1
"""When none has come for so long, no more are in the queue."""

MOST_QUIET_SECONDS = 2.0
"""Clients that do not wait for answers may never be quiet."""

Answer = Callable[..., Awaitable[Message]]


class GrpcServer:
    """The gRPC side of the server.

    Args:
        predictor: Answers.
        address: Such as `127.0.0.1:8500`; port 0 lets the system choose.
        credentials: For TLS.

    Raises:
        InputError: If nothing can listen there.
    """

    def __init__(
        self,
        predictor: Predictor,
        address: str,
        credentials: grpc.ServerCredentials | None,
    ) -> None:
        self._predictor = predictor
        self._server = grpc.aio.server(
            options=[
                # Otherwise two servers share a port, and nobody knows which answers.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", predictor.limits.message_bytes),
                ("grpc.max_send_message_length", -1),
                # A client that is gone without a word.
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
            ],
            maximum_concurrent_rpcs=2 * predictor.limits.requests,
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._server.add_generic_rpc_handlers(self._handlers())
        self._is_refusing = False
        self._is_stopping = asyncio.Event()
        self._last_refused = 0.0
        try:
            if credentials is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise InputError(
                f"gRPC cannot listen at {address}: {error}; expected a free --port"
            ) from None

    async def start(self) -> None:
        """Answer from now on."""
        await self._server.start()
        for service in ("", PREDICTION_SERVICE, MODEL_SERVICE):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, seconds: float) -> None:
        """Take no new requests, and finish those that came."""
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(ANSWER_SECONDS)
        self._is_refusing = True
        begin = self._last_refused = time.monotonic()
        while (now := time.monotonic()) < self._last_refused + QUIET_SECONDS:
            if now > begin + MOST_QUIET_SECONDS:
                break
            await asyncio.sleep(QUIET_SECONDS / 4)
        stopping = asyncio.create_task(self._server.stop(seconds))
        # Clients learn that the connection ends before they get their refusals, and
        # do not try again on it.
        await asyncio.sleep(QUIET_SECONDS)
        self._is_stopping.set()
        await stopping

    async def _refuse(self) -> None:
        """Refuse a request that came too late, once the server takes no others."""
        self._last_refused = time.monotonic()
        await self._is_stopping.wait()
        raise ServingError(
            grpc.StatusCode.UNAVAILABLE, "the server stops; try again later"
        )

    def _handlers(self) -> list[grpc.GenericRpcHandler]:
        predictor = self._predictor

        async def metadata(request: Any) -> Message:
            return predictor.metadata(request)

        async def status(request: Any) -> Message:
            return predictor.status(request.model_spec)

        prediction_service = {
            "Predict": self._handler(
                "Predict", predict_pb2.PredictRequest, predictor.predict
            ),
            "Classify": self._handler(
                "Classify", classification_pb2.ClassificationRequest, predictor.classify
            ),
            "Regress": self._handler(
                "Regress", regression_pb2.RegressionRequest, predictor.regress
            ),
            "MultiInference": self._handler(
                "MultiInference",
                inference_pb2.MultiInferenceRequest,
                predictor.multi_inference,
            ),
            "GetModelMetadata": self._handler(
                "GetModelMetadata",
                get_model_metadata_pb2.GetModelMetadataRequest,
                metadata,
            ),
        }
        model_service = {
            "GetModelStatus": self._handler(
                "GetModelStatus", get_model_status_pb2.GetModelStatusRequest, status
            )
        }
        return [
            grpc.method_handlers_generic_handler(
                PREDICTION_SERVICE, prediction_service
            ),
            grpc.method_handlers_generic_handler(MODEL_SERVICE, model_service),
        ]

    def _handler(
        self, api: str, request_class: Any, answer: Answer
    ) -> grpc.RpcMethodHandler:
        """Answer one kind of request, within the limits, with gRPC's statuses."""
        limits = self._predictor.limits
        largest = INLINE_BYTES if api == "Predict" else INLINE_EXAMPLES_BYTES

        async def handle(payload: bytes, context: grpc.aio.ServicerContext) -> bytes:
            try:
                if self._is_refusing:
                    await self._refuse()
                if len(payload) > largest:
                    return await self._read_beside(api, request_class, answer, payload)
                request = request_class.FromString(payload)
                with self._predictor.request(_model(api, request), api, "GRPC"):
                    async with asyncio.timeout(limits.seconds):
                        return (await answer(request)).SerializeToString()
            except ServingError as error:
                await context.abort(error.code, error.message)
            except DecodeError as error:
                text = f"the request is no {request_class.DESCRIPTOR.name}: {error}"
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
            except TimeoutError:
                text = f"no answer within {limits.seconds:g} s"
                await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, text)
            except Exception as error:
                log.exception("%s", api)
                text = f"{type(error).__name__} in the server"
                await context.abort(grpc.StatusCode.INTERNAL, text)
            raise AssertionError("unreachable: abort raises")

        return grpc.unary_unary_rpc_method_handler(handle)

    async def _read_beside(
        self, api: str, request_class: Any, answer: Answer, payload: bytes
    ) -> bytes:
        """Answer a large request, which a process next to the server reads."""
        readers, limits = self._predictor.readers, self._predictor.limits
        name = request_class.DESCRIPTOR.full_name
        if api.startswith("Get"):
            refuse(f"the request has {len(payload)} bytes, which no {api} has")
        task = Task(name, is_gzip=False, max_rows=limits.rows, bounds=None)
        async with asyncio.timeout(limits.seconds):
            with readers.hold() as held:
                held.set(len(payload))
                async with readers.read(task, (payload,)) as reading:
                    request = request_class.FromString(bytes(reading.head))
                    model = _model(api, request)

                    async def read(signature: Signature) -> NamedArrays:
                        if api == "Predict":
                            return await reading.inputs(signature.inputs)
                        return as_only_input(signature, await reading.examples())

                    with self._predictor.request(model, api, "GRPC"):
                        answered = await answer(request, read)
                        return answered.SerializeToString()


def _model(api: str, request: Any) -> str:
    """Return the name of the model that a request is for."""
    if api == "MultiInference" and request.tasks:
        request = request.tasks[0]
    spec = getattr(request, "model_spec", None)
    return spec.name if spec is not None else ""
