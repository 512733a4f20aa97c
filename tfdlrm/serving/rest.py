"""TF Serving's REST interface, as an ASGI application."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    model_pb2,
    regression_pb2,
)

from tfdlrm.serving import json_answers, json_requests
from tfdlrm.serving.errors import ServingError, refuse
from tfdlrm.serving.openapi import describe
from tfdlrm.serving.page import POLICY, page
from tfdlrm.serving.predictor import Predictor

log = logging.getLogger("tfdlrm.serving")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

METRICS_PATH = "/monitoring/prometheus/metrics"

_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_MODEL = rf"/v1/models/(?P<name>[^/:]+){_VERSION}"
_PREDICTION = re.compile(rf"{_MODEL}:(?P<method>predict|classify|regress)", re.ASCII)
_STATUS = re.compile(rf"{_MODEL}(?P<metadata>/metadata)?", re.ASCII)


@dataclass(frozen=True)
class Response:
    """What is sent back."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class RestApp:
    """Answers HTTP requests.

    Args:
        predictor: Answers.
        metrics_path: Where Prometheus finds its page; `None` for nowhere.
    """

    def __init__(self, predictor: Predictor, metrics_path: str | None) -> None:
        self._predictor = predictor
        self._metrics_path = metrics_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry: one request, its arrival and departure timed."""
        limits = self._predictor.limits
        is_started = False
        try:
            async with asyncio.timeout(limits.seconds):
                response = await self._respond(scope, receive)
                is_started = True
                await _send(send, response, scope["method"])
        except _ClientGoneError:
            return
        except TimeoutError:
            if is_started:  # the client does not read: the connection is closed
                raise
            text = f"no answer within {limits.seconds:g} s"
            await _send(send, _error(504, text), scope["method"])

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        try:
            return await self._route(scope["method"], scope["path"], scope, receive)
        except ServingError as error:
            return _error(error.http_status, error.message)
        except _HttpError as error:
            return _error(error.status, str(error), error.headers)
        except (TimeoutError, asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            log.exception("%s %s", scope["method"], scope["path"])
            return _error(500, f"{type(error).__name__} in the server")

    async def _route(
        self, method: str, path: str, scope: Scope, receive: Receive
    ) -> Response:
        if prediction := _PREDICTION.fullmatch(path):
            _require(method, ("POST",))
            return await self._predict(prediction, scope, receive)
        _require_known(path, self._metrics_path)
        _require(method, ("GET", "HEAD"))
        if path == "/":
            policy = ((b"content-security-policy", POLICY.encode()),)
            text = await asyncio.to_thread(page, self._predictor.models)
            return Response(
                text, content_type="text/html; charset=utf-8", headers=policy
            )
        if path == "/openapi.json":
            names = [model.settings.name for model in self._predictor.models]
            return Response(orjson.dumps(describe(names)))
        if path == self._metrics_path:
            metrics = self._predictor.metrics.text().encode()
            return Response(metrics, content_type="text/plain; version=0.0.4")
        status = _STATUS.fullmatch(path)
        assert status is not None
        spec = _spec(status)
        with self._predictor.request(spec.name, "GetModelStatus", "REST"):
            if status["metadata"]:
                return _metadata(self._predictor, spec)
            return Response(_to_json(_to_dict(self._predictor.status(spec))))

    async def _predict(
        self, match: re.Match[str], scope: Scope, receive: Receive
    ) -> Response:
        spec, method = _spec(match), match["method"]
        with self._predictor.request(spec.name, method.capitalize(), "REST"):
            body = await _read_body(
                scope, receive, self._predictor.limits.message_bytes
            )
            document = json_requests.parse(body)
            spec.signature_name = json_requests.signature_name(document)
            if method == "predict":
                return Response(await self._predict_tensors(spec, document))
            examples = json_requests.example_input(document)
            if method == "classify":
                classify = classification_pb2.ClassificationRequest(
                    model_spec=spec, input=examples
                )
                classified = await self._predictor.classify(classify)
                return Response(json_answers.classifications(classified.result))
            regress = regression_pb2.RegressionRequest(model_spec=spec, input=examples)
            regressed = await self._predictor.regress(regress)
            return Response(json_answers.regressions(regressed.result))

    async def _predict_tensors(
        self, spec: model_pb2.ModelSpec, document: dict[str, Any]
    ) -> bytes:
        with self._predictor.models.use(spec) as servable:
            signature = servable.signature(spec.signature_name)
            arrays, layout = json_requests.predict_inputs(document, signature)
            outputs = await self._predictor.run(signature, arrays)
        return json_answers.predictions(outputs, layout)


class _ClientGoneError(ConnectionError):
    """The client went away before its request was whole."""


class _HttpError(Exception):
    """What HTTP has a status for and gRPC does not."""

    def __init__(
        self, status: int, text: str, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers


def _require(method: str, allowed: tuple[str, ...]) -> None:
    if method not in allowed:
        text = f"Method {method[:20]} is not allowed, expected {allowed[0]}"
        allow = ", ".join(allowed).encode()
        raise _HttpError(405, text, ((b"allow", allow),))


def _require_known(path: str, metrics_path: str | None) -> None:
    known = ("/", "/openapi.json", metrics_path)
    if path not in known and not _STATUS.fullmatch(path):
        raise _HttpError(404, f"Malformed request: {path[:200]}")


def _spec(match: re.Match[str]) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=match["name"])
    if match["version"]:
        if len(match["version"]) > 19 or int(match["version"]) >= 2**63:
            refuse(f"Failed to convert version: {match['version']} to numeric.")
        spec.version.value = int(match["version"])
    elif match["label"]:
        spec.version_label = match["label"]
    return spec


async def _read_body(scope: Scope, receive: Receive, most: int) -> bytes:
    headers = dict(scope["headers"])
    encoding = headers.get(b"content-encoding", b"identity").decode("latin-1")
    if encoding != "identity":
        raise _HttpError(415, f"Content-Encoding {encoding[:20]} is not supported")
    too_large = _HttpError(413, f"the request is larger than {most} bytes")
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > most:
        raise too_large
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientGoneError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise too_large
        if not message.get("more_body"):
            return b"".join(parts)


async def _send(send: Send, response: Response, method: str) -> None:
    headers = [
        (b"content-type", response.content_type.encode()),
        (b"content-length", str(len(response.body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        *response.headers,
    ]
    await send(
        {"type": "http.response.start", "status": response.status, "headers": headers}
    )
    body = b"" if method == "HEAD" else response.body
    await send({"type": "http.response.body", "body": body})


def _error(
    status: int, text: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> Response:
    text = text.encode("utf-8", "replace").decode()
    return Response(orjson.dumps({"error": text}), status, headers=headers)


def _metadata(predictor: Predictor, spec: model_pb2.ModelSpec) -> Response:
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=spec, metadata_field=["signature_def"]
    )
    answer = predictor.metadata(request)
    definitions = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(definitions)
    document = {
        "model_spec": {
            "name": answer.model_spec.name,
            "signature_name": "",
            "version": str(answer.model_spec.version.value),
        },
        "metadata": {"signature_def": _to_dict(definitions)},
    }
    return Response(_to_json(document))


def _to_dict(message: Message) -> dict[str, Any]:
    # The argument's name changed with protobuf 5.
    try:
        return MessageToDict(
            message,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
    except TypeError:
        return MessageToDict(
            message,
            preserving_proto_field_name=True,
            including_default_value_fields=True,
        )


def _to_json(document: Any) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)
