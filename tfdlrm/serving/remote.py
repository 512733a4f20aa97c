"""A model behind a server: TF Serving's, or the embedded one."""

import base64
import http.client
import json
import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import grpc
import numpy as np

from tfdlrm.errors import InputError
from tfdlrm.serving.raw_columns import RAW_SIGNATURE

T = TypeVar("T")

Columns = Mapping[str, Sequence[bytes]]
"""Fields of raw rows, by column."""

PASSING_STATUSES = {
    grpc.StatusCode.CANCELLED,  # by a server that stops
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
PASSING_HTTP_STATUSES = {408, 429, 502, 503, 504}

FIRST_WAIT_SECONDS = 0.1


class PassingError(Exception):
    """What may go better when it is tried again."""


class RemoteModel(Protocol):
    """A model that scores raw rows."""

    def columns(self) -> list[str]:
        """Names of the columns that it takes."""

    def score(self, rows: Columns) -> np.ndarray:
        """Probabilities `(rows,)`."""


def with_retries(call: Callable[[], T], retries: int, where: str) -> T:
    """Call until it works, waiting longer each time.

    Args:
        call: Raises `PassingError` when it is worth another try.
        retries: How many further tries.
        where: The server, for the message.

    Raises:
        InputError: If the last try fails too.
    """
    for attempt in range(retries + 1):
        try:
            return call()
        except PassingError as error:
            if attempt == retries:
                raise InputError(
                    f"{where} gives no answer after {retries + 1} tries: {error}"
                ) from None
            # Not all clients at the same time again.
            time.sleep(FIRST_WAIT_SECONDS * 2**attempt * random.uniform(0.5, 1))
    raise AssertionError("unreachable")


class GrpcModel:
    """A model over gRPC.

    Args:
        server: Such as `localhost:8500`.
        name: The model's.
        timeout: Seconds for a request.
        tls: PEM files: authority, client's certificate and key; the first for TLS, all
            three for mutual TLS.
    """

    def __init__(
        self, server: str, name: str, timeout: float, tls: Sequence[Path]
    ) -> None:
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        options = [
            ("grpc.max_receive_message_length", -1),
            # Otherwise it waits longer and longer for a server that comes back.
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        if tls:
            _tls_context(tls)  # gRPC does not say which files it cannot use
            authority, *own = [path.read_bytes() for path in tls]
            certificate, key = own or (None, None)
            credentials = grpc.ssl_channel_credentials(authority, key, certificate)
            channel = grpc.secure_channel(server, credentials, options)
        else:
            channel = grpc.insecure_channel(server, options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._name, self._timeout = name, timeout

    def columns(self) -> list[str]:
        """Names of the columns that it takes."""
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(
            metadata_field=["signature_def"]
        )
        request.model_spec.name = self._name
        answer = self._call(self._stub.GetModelMetadata, request)
        definitions = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(definitions)
        return list(definitions.signature_def[RAW_SIGNATURE].inputs)

    def score(self, rows: Columns) -> np.ndarray:
        """Probabilities `(rows,)`."""
        import tensorflow as tf
        from tensorflow.core.framework import tensor_pb2, types_pb2
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._name
        request.model_spec.signature_name = RAW_SIGNATURE
        for name, values in rows.items():
            proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=values)
            proto.tensor_shape.dim.add(size=len(values))
            request.inputs[name].CopyFrom(proto)
        answer = self._call(self._stub.Predict, request)
        return _probabilities(
            lambda: tf.make_ndarray(answer.outputs["probability"]), rows
        )

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            if error.code() in PASSING_STATUSES:
                raise PassingError(_one_line(error.details())) from None
            raise InputError(
                f"the server refuses: {_one_line(error.details())}"
            ) from None


class RestModel:
    """A model over HTTP; every thread has a connection of its own.

    Args:
        server: Such as `localhost:8501`.
        name: The model's.
        timeout: Seconds for a request.
        tls: As `GrpcModel` takes it.
    """

    def __init__(
        self, server: str, name: str, timeout: float, tls: Sequence[Path]
    ) -> None:
        self._server, self._timeout = server, timeout
        self._path = f"/v1/models/{quote(name, safe='')}"
        self._local = threading.local()
        self._tls = _tls_context(tls) if tls else None

    def columns(self) -> list[str]:
        """Names of the columns that it takes."""
        answer = self._ask("GET", f"{self._path}/metadata", None)
        try:
            definitions = answer["metadata"]["signature_def"]["signature_def"]
            return list(definitions.get(RAW_SIGNATURE, {}).get("inputs", {}))
        except (AttributeError, KeyError, TypeError):
            raise InputError(
                f"{self._server}{self._path}/metadata is {_one_line(str(answer))}, "
                "expected the signatures of a model: is this a server of models, and "
                "its port for REST?"
            ) from None

    def score(self, rows: Columns) -> np.ndarray:
        """Probabilities `(rows,)`."""
        inputs = {name: list(map(_text, values)) for name, values in rows.items()}
        document = {"signature_name": RAW_SIGNATURE, "inputs": inputs}
        answer = self._ask("POST", f"{self._path}:predict", json.dumps(document))
        return _probabilities(lambda: answer["outputs"], rows)

    def _ask(self, method: str, path: str, body: str | None) -> Any:
        try:
            connection = self._connection()
            connection.request(method, path, body)
            answer = connection.getresponse()
            text = answer.read()
        except (http.client.InvalidURL, UnicodeError):
            raise InputError(
                f"server is {self._server}, expected HOST:PORT such as localhost:8501"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise PassingError(str(error) or type(error).__name__) from None
        try:
            document = json.loads(text)
        except ValueError:
            document = text.decode(errors="replace")
        if answer.status == 200:
            return document
        reason = document.get("error") if isinstance(document, dict) else document
        said = _one_line(f"{answer.status} {reason}")
        if answer.status in PASSING_HTTP_STATUSES:
            raise PassingError(said)
        raise InputError(f"the server refuses: {said}")

    def _connection(self) -> http.client.HTTPConnection:
        kept = getattr(self._local, "connection", None)
        if kept is None:
            kept = (
                http.client.HTTPSConnection(
                    self._server, timeout=self._timeout, context=self._tls
                )
                if self._tls
                else http.client.HTTPConnection(self._server, timeout=self._timeout)
            )
            self._local.connection = kept
        return kept


def _probabilities(read: Callable[[], Any], rows: Columns) -> np.ndarray:
    """What an answer says of rows, one number each."""
    count = len(next(iter(rows.values())))
    try:
        return np.asarray(read(), np.float32).reshape(count)
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"the server's answer to {count} rows has no output probability of one "
            "number a row: is the model one of tfdlrm's, and this a server of models?"
        ) from None


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]


def _tls_context(tls: Sequence[Path]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls[0])
        if len(tls) > 1:
            # Without a password it would ask for one.
            context.load_cert_chain(tls[1], tls[2], password="")
    except OSError as error:
        raise InputError(
            f"TLS files {', '.join(map(str, tls))} cannot be used: {error}; expected "
            "PEM of an authority, a certificate and its key without a passphrase"
        ) from None
    return context


def _text(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}
