"""TF Serving's gRPC services on asyncio."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from tfdlrm.base.errors import InputError
from tfdlrm.serving.config_requests import reload_config
from tfdlrm.serving.descriptions import model_metadata, model_status
from tfdlrm.serving.errors import ServingError, refuse
from tfdlrm.serving.grpc_settings import GrpcSettings, check_socket_path
from tfdlrm.serving.http.bodies import INLINE_BYTES
from tfdlrm.serving.predictor import Predictor, ReadInputs
from tfdlrm.serving.profiler import profiler_handlers
from tfdlrm.serving.reader_channel import Task
from tfdlrm.serving.requests import (
    CLASSIFY,
    REGRESS,
    NamedArrays,
    as_only_input,
    example_inputs,
    example_response,
    predict_inputs,
    predict_response,
)
from tfdlrm.serving.servable import Signature
from tfdlrm.serving.turns import Turns

log = logging.getLogger("tfdlrm.serving")

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"

RELOAD = "HandleReloadConfigRequest"
PREDICTIONS = ("Predict", "Classify", "Regress", "MultiInference")

INLINE_EXAMPLES_BYTES = 2**16
"""Larger requests with examples are read in a process next to the server."""

ANSWER_SECONDS = 0.5
"""Time for which a server that is to stop still answers new requests.

gRPC queues requests that Python has not accepted yet, and cancels them when it stops.
"""

QUIET_SECONDS = 0.1
"""Time without a request after which gRPC's queue is taken to be empty."""

MOST_QUIET_SECONDS = 2.0
"""Longest wait for such a time, as some clients send without waiting for answers."""

Answer = Callable[[Any, ReadInputs], Awaitable[Message]]
"""A function that answers a request, given one that reads its inputs."""


class GrpcServer:
    """The gRPC side of the server.

    Args:
        predictor: Predictor that answers.
        settings: Where and how to listen.

    Raises:
        InputError: If an address cannot be used.
    """

    def __init__(self, predictor: Predictor, settings: GrpcSettings) -> None:
        self._predictor = predictor
        self._settings = settings
        self._turns: Turns | None = None
        if settings.most_at_a_time is not None:
            self._turns = Turns(settings.most_at_a_time, predictor.limits.seconds)
        options: dict[str, int | str] = {
            # Otherwise two servers share a port, and either may answer.
            "grpc.so_reuseport": 0,
            "grpc.max_receive_message_length": predictor.limits.message_bytes,
            "grpc.max_send_message_length": -1,
            # Notice clients that left without closing their connections.
            "grpc.keepalive_time_ms": 60_000,
            "grpc.keepalive_timeout_ms": 20_000,
            **settings.channel_arguments,
        }
        self._server = grpc.aio.server(
            options=list(options.items()),
            maximum_concurrent_rpcs=2 * predictor.limits.requests,
        )
        self._health = health.aio.HealthServicer()
        if settings.has_health:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._server.add_generic_rpc_handlers(self._handlers())
        if settings.has_profiler:
            self._server.add_generic_rpc_handlers(profiler_handlers())
        self._is_refusing = False
        self._is_stopping = asyncio.Event()
        self._last_refused = 0.0
        self.port: int | None = None
        if settings.address is not None:
            self.port = self._listen(settings.address, "a free --port")
        if settings.socket_path is not None:
            address = check_socket_path(settings.socket_path)
            self._listen(address, "a --grpc_socket_path that may be written")

    def _listen(self, address: str, expected: str) -> int:
        credentials = self._settings.credentials
        try:
            if credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise InputError(
                f"gRPC cannot listen at {address}: {error}; expected {expected}"
            ) from None

    async def start(self) -> None:
        """Begin to answer."""
        await self._server.start()
        for service in ("", PREDICTION_SERVICE, MODEL_SERVICE):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, seconds: float) -> None:
        """Accept no new requests, and finish those that came."""
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(ANSWER_SECONDS)
        self._is_refusing = True
        begin = self._last_refused = time.monotonic()
        while (now := time.monotonic()) < self._last_refused + QUIET_SECONDS:
            if now > begin + MOST_QUIET_SECONDS:
                break
            await asyncio.sleep(QUIET_SECONDS / 4)
        stopping = asyncio.create_task(self._server.stop(seconds))
        # Clients learn that the connection ends before they are refused, so that they
        # do not try again on it.
        await asyncio.sleep(QUIET_SECONDS)
        self._is_stopping.set()
        await stopping

    async def _refuse(self) -> None:
        """Refuse a request that came too late, once the server accepts no others."""
        self._last_refused = time.monotonic()
        await self._is_stopping.wait()
        raise ServingError(
            grpc.StatusCode.UNAVAILABLE, "the server stops; try again later"
        )

    def _handlers(self) -> list[grpc.GenericRpcHandler]:
        predictor = self._predictor

        async def predict(request: Any, read: ReadInputs) -> Message:
            return await predictor.predict(
                request.model_spec, read, predict_response, request.output_filter
            )

        async def infer(method: str, request: Any, read: ReadInputs) -> Message:
            write = partial(example_response, method)
            return await predictor.infer(request.model_spec, method, read, write)

        async def metadata(request: Any, read: ReadInputs) -> Message:
            return model_metadata(predictor.models, request)

        async def reload(request: Any, read: ReadInputs) -> Message:
            return await reload_config(predictor.models, request)

        async def status(request: Any, read: ReadInputs) -> Message:
            return model_status(predictor.models, request.model_spec)

        services: dict[str, dict[str, tuple[Any, Answer]]] = {
            PREDICTION_SERVICE: {
                "Predict": (predict_pb2.PredictRequest, predict),
                "Classify": (
                    classification_pb2.ClassificationRequest,
                    partial(infer, CLASSIFY),
                ),
                "Regress": (regression_pb2.RegressionRequest, partial(infer, REGRESS)),
                "MultiInference": (
                    inference_pb2.MultiInferenceRequest,
                    predictor.multi_inference,
                ),
                "GetModelMetadata": (
                    get_model_metadata_pb2.GetModelMetadataRequest,
                    metadata,
                ),
            },
            MODEL_SERVICE: {
                "GetModelStatus": (get_model_status_pb2.GetModelStatusRequest, status),
                RELOAD: (model_management_pb2.ReloadConfigRequest, reload),
            },
        }
        return [
            grpc.method_handlers_generic_handler(
                service, {api: self._handler(api, *call) for api, call in calls.items()}
            )
            for service, calls in services.items()
        ]

    def _handler(
        self, api: str, request_class: Any, answer: Answer
    ) -> grpc.RpcMethodHandler:
        """Return a handler of one call, with the limits and gRPC's statuses."""
        limits = self._predictor.limits
        is_predict = api == "Predict"
        inline_bytes = INLINE_BYTES if is_predict else INLINE_EXAMPLES_BYTES
        read = _read_tensors if is_predict else _read_examples
        seconds: float | None = limits.seconds
        if api == RELOAD:  # loading takes its time
            inline_bytes, seconds = limits.message_bytes, None
        takes_turns = self._turns is not None and api in PREDICTIONS

        async def handle(payload: bytes, context: grpc.aio.ServicerContext) -> bytes:
            try:
                if self._is_refusing:
                    await self._refuse()
                if len(payload) > inline_bytes:
                    return await self._answer_large(api, request_class, answer, payload)
                request = request_class.FromString(payload)
                with self._predictor.request(_model(api, request), api, "GRPC"):
                    async with asyncio.timeout(seconds):
                        inputs = partial(read, request, limits.rows)
                        return (await answer(request, inputs)).SerializeToString()
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

        async def handle_in_turn(
            payload: bytes, context: grpc.aio.ServicerContext
        ) -> bytes:
            assert self._turns is not None
            try:
                async with self._turns.take():
                    return await handle(payload, context)
            except TimeoutError:
                text = f"no turn within {limits.seconds:g} s"
                await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, text)
            raise AssertionError("unreachable: abort raises")

        return grpc.unary_unary_rpc_method_handler(
            handle_in_turn if takes_turns else handle
        )

    async def _answer_large(
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
                        return as_only_input(signature, await reading.examples({}))

                    with self._predictor.request(model, api, "GRPC"):
                        return (await answer(request, read)).SerializeToString()


async def _read_tensors(
    request: predict_pb2.PredictRequest, max_rows: int, signature: Signature
) -> NamedArrays:
    return predict_inputs(signature, request, max_rows)


async def _read_examples(
    request: Any, max_rows: int, signature: Signature
) -> NamedArrays:
    return example_inputs(signature, request.input, max_rows)


def _model(api: str, request: Any) -> str:
    """Return the name of the model that a request is for."""
    if api == "MultiInference" and request.tasks:
        request = request.tasks[0]
    spec = getattr(request, "model_spec", None)
    return spec.name if spec is not None else ""
