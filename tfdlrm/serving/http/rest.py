"""TF Serving's REST interface, as an ASGI application."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, replace
from typing import Any

import grpc
import orjson
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2

from tfdlrm.serving.descriptions import model_metadata, model_status
from tfdlrm.serving.errors import ServingError, refuse
from tfdlrm.serving.http import json_answers
from tfdlrm.serving.http.bodies import JsonBounds
from tfdlrm.serving.http.column_values import (
    VALUES_PATH,
    column_values,
    parameters_of,
)
from tfdlrm.serving.http.hosts import AllowedHosts
from tfdlrm.serving.http.openapi import describe
from tfdlrm.serving.http.page import page, policy
from tfdlrm.serving.http.rest_requests import (
    ClientGoneError,
    Receive,
    RestRequest,
    Scope,
    answer_request,
    json_bounds,
)
from tfdlrm.serving.limits import Limits
from tfdlrm.serving.models import Models
from tfdlrm.serving.predictor import Predictor
from tfdlrm.serving.requests import CLASSIFY, REGRESS
from tfdlrm.serving.turns import Turns
from tfdlrm.serving.unknown_report import Unknown, UnknownReport

log = logging.getLogger("tfdlrm.serving")

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

METRICS_PATH = "/monitoring/prometheus/metrics"

_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_MODEL = rf"/v1/models/(?P<name>[^/:]+){_VERSION}"
_FLAGS = re.ASCII | re.IGNORECASE
_PREDICTION = re.compile(rf"{_MODEL}:(?P<method>predict|classify|regress)", _FLAGS)
_STATUS = re.compile(rf"{_MODEL}(?P<metadata>/metadata)?", _FLAGS)
_API = re.compile("/v1/.*", _FLAGS)
"""Paths that TF Serving regards as its own, well-formed or not."""

_OTHER_SITES = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (b"access-control-allow-headers", b"content-type, content-encoding, *"),
)
"""Headers that let a browser send a page's requests to this server."""

_INFERENCES = {
    "classify": (CLASSIFY, json_answers.classifications),
    "regress": (REGRESS, json_answers.regressions),
}


@dataclass(frozen=True)
class Response:
    """Answer to an HTTP request."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class RestApp:
    """The ASGI application that answers HTTP requests.

    Args:
        predictor: Predictor that answers.
        metrics_path: Path of the page for Prometheus; `None` for none.
        hosts: Host names that requests may use.
        limits: Limits on HTTP requests.
        most_at_a_time: Most predictions that are answered at a time while others wait;
            `None` for no such limit.
        answers_other_sites: Whether pages of other sites may send requests.
        reports_unknown: Whether answers list the unknown values of raw rows.
    """

    def __init__(
        self,
        predictor: Predictor,
        metrics_path: str | None,
        hosts: AllowedHosts,
        limits: Limits,
        most_at_a_time: int | None,
        answers_other_sites: bool,
        reports_unknown: bool = False,
    ) -> None:
        self._predictor = predictor
        self._metrics_path = metrics_path
        self._hosts = hosts
        self._limits = limits
        self._turns: Turns | None = None
        if most_at_a_time is not None:
            self._turns = Turns(most_at_a_time, limits.seconds)
        self._answers_other_sites = answers_other_sites
        self._reports_unknown = reports_unknown
        # One at a time: Polars uses all cores for each, which predictions need too.
        self._searches = Turns(1, limits.seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; ASGI's entry."""
        try:
            response = await self._respond(scope, receive)
        except ClientGoneError:
            return
        if self._answers_other_sites:
            headers = (*response.headers, *_OTHER_SITES)
            response = replace(response, headers=headers)
        await _send(send, response, scope["method"])

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        try:
            self._hosts.check(scope["headers"])
            return await self._route(scope["method"], scope["path"], scope, receive)
        except ServingError as error:
            return _error(error.http_status, error.message)
        except _NotAllowedError as error:
            return _error(405, str(error), ((b"allow", b"GET, HEAD"),))
        except TimeoutError:
            return _error(504, f"no answer within {self._limits.seconds:g} s")
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            log.exception("%s %s", scope["method"], scope["path"])
            return _error(500, f"{type(error).__name__} in the server")

    async def _route(
        self, method: str, path: str, scope: Scope, receive: Receive
    ) -> Response:
        if method == "OPTIONS" and self._answers_other_sites:
            return Response(b"")
        prediction, status = _PREDICTION.fullmatch(path), _STATUS.fullmatch(path)
        is_read = method in ("GET", "HEAD")
        if prediction and method == "POST":
            return await self._predict(prediction, scope, receive)
        if status and is_read:
            return self._describe_model(_spec(status), bool(status["metadata"]))
        if _API.fullmatch(path):
            refuse(f"Malformed request: {method[:20]} {path[:200]}")
        if path not in ("/", "/openapi.json", VALUES_PATH, self._metrics_path):
            raise ServingError(grpc.StatusCode.NOT_FOUND, f"no page {path[:200]}")
        if not is_read:
            raise _NotAllowedError(f"Method {method[:20]} is not allowed, expected GET")
        if path == "/":
            return await self._page(scope["query_string"])
        if path == VALUES_PATH:
            parameters = parameters_of(scope["query_string"])
            async with self._searches.take():
                values = await asyncio.to_thread(
                    column_values, self._predictor.models, parameters
                )
            return Response(orjson.dumps(values))
        if path == "/openapi.json":
            names = [model.settings.name for model in self._predictor.models]
            return Response(orjson.dumps(describe(names)))
        metrics = self._predictor.metrics.text().encode()
        return Response(metrics, content_type="text/plain; version=0.0.4")

    async def _page(self, query: bytes) -> Response:
        try:
            parameters = parameters_of(query)
        except ServingError:
            parameters = {}  # of another site's link, say: the page needs none
        version = parameters.get("version", "")
        number = int(version) if re.fullmatch("[0-9]{1,19}", version) else None
        text = await asyncio.to_thread(
            page, self._predictor.models, parameters.get("model"), number
        )
        headers = ((b"content-security-policy", policy().encode()),)
        return Response(text, content_type="text/html; charset=utf-8", headers=headers)

    def _describe_model(self, spec: model_pb2.ModelSpec, is_metadata: bool) -> Response:
        api = "GetModelMetadata" if is_metadata else "GetModelStatus"
        with self._predictor.request(spec.name, api, "REST"):
            if is_metadata:
                return _metadata(self._predictor.models, spec)
            status = model_status(self._predictor.models, spec)
            return Response(_to_json(_to_dict(status)))

    async def _predict(
        self, match: re.Match[str], scope: Scope, receive: Receive
    ) -> Response:
        spec, method = _spec(match), match["method"].lower()
        limits = self._limits
        with self._predictor.request(spec.name, method.capitalize(), "REST"):
            async with asyncio.timeout(limits.seconds):
                return Response(
                    await answer_request(
                        scope,
                        receive,
                        self._predictor.readers,
                        limits,
                        lambda: self._bounds(spec, method),
                        lambda request: self._answer_in_turn(spec, method, request),
                    )
                )

    def _bounds(self, spec: model_pb2.ModelSpec, method: str) -> JsonBounds:
        with self._predictor.models.use(spec) as servable:
            return json_bounds(servable, method, self._limits)

    async def _answer_in_turn(
        self, spec: model_pb2.ModelSpec, method: str, request: RestRequest
    ) -> bytes:
        if self._turns is None:
            return await self._answer(spec, method, request)
        async with self._turns.take():
            return await self._answer(spec, method, request)

    async def _answer(
        self, spec: model_pb2.ModelSpec, method: str, request: RestRequest
    ) -> bytes:
        spec.signature_name = request.signature_name
        report = UnknownReport() if self._reports_unknown else None

        def unknown() -> Unknown | None:
            return None if report is None else report.rows

        if method == "predict":
            return await self._predictor.predict(
                spec,
                request.tensors,
                lambda _, outputs: json_answers.predictions(
                    outputs, request.layout, unknown()
                ),
                report=report,
            )
        signature_method, write = _INFERENCES[method]
        return await self._predictor.infer(
            spec,
            signature_method,
            request.examples,
            lambda signature, outputs: write(signature, outputs, unknown()),
            report,
        )


class _NotAllowedError(Exception):
    """A page is read with GET, and the request has another method."""


def _spec(match: re.Match[str]) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=match["name"])
    if match["version"]:
        if len(match["version"]) > 19 or int(match["version"]) >= 2**63:
            refuse(f"Failed to convert version: {match['version']} to numeric.")
        spec.version.value = int(match["version"])
    elif match["label"]:
        spec.version_label = match["label"]
    return spec


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


def _metadata(models: Models, spec: model_pb2.ModelSpec) -> Response:
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=spec, metadata_field=["signature_def"]
    )
    answer = model_metadata(models, request)
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
