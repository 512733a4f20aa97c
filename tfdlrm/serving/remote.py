"""Client of a model behind TF Serving or the embedded server."""

import base64
import http.client
import json
import random
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import grpc
import numpy as np

from tfdlrm.base.errors import InputError
from tfdlrm.exporting.raw_columns import (
    COUNTS,
    COVERAGE_SIGNATURE,
    RAW_SIGNATURE,
    UNKNOWN_SIGNATURE,
)

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
    """A failure that another try may avoid."""


@dataclass(frozen=True)
class Scores:
    """A server's answer to raw rows.

    Args:
        probabilities: Shape `(rows,)`.
        unknown: Number of unknown values of each categorical column, shape
            `(rows, columns)`; `None` where the model does not count them.
        values: Number of all values of each column, missing ones included.
    """

    probabilities: np.ndarray
    unknown: np.ndarray | None = None
    values: np.ndarray | None = None


class RemoteModel(ABC):
    """A model behind a server that scores raw rows."""

    _num_counted = 0
    """Categorical columns whose unknown values the model counts; `columns` sets it."""

    @abstractmethod
    def columns(self) -> list[str]:
        """Return the names of the columns that the model takes; call this first."""

    def coverage(self) -> dict[str, float]:
        """Return the usual share of unknown values of each column that is counted.

        The share is -1 where it is not known.
        """
        if not self._num_counted:
            return {}
        indices = list(range(self._num_counted))
        outputs = self._predict(COVERAGE_SIGNATURE, {"number": indices})
        names = [_decode(name) for name in outputs["name"].ravel()]
        shares = outputs["unknown_share"].ravel().tolist()
        return dict(zip(names, shares, strict=True))

    def score(self, rows: Columns) -> Scores:
        """Score rows; unknown values are counted where the model counts them."""
        counts = self._num_counted > 0
        signature = UNKNOWN_SIGNATURE if counts else RAW_SIGNATURE
        outputs = self._predict(signature, rows)
        num_rows = len(next(iter(rows.values())))
        shape = num_rows, self._num_counted
        try:
            return Scores(
                np.asarray(outputs["probability"], np.float32).reshape(num_rows),
                *(outputs[name].reshape(shape) for name in COUNTS if counts),
            )
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"the server's answer to {num_rows} rows has no output probability of "
                "one number a row: is the model one of tfdlrm's, and this a server of "
                "models?"
            ) from None

    @abstractmethod
    def _predict(
        self, signature: str, inputs: Mapping[str, Sequence[bytes] | Sequence[int]]
    ) -> dict[str, np.ndarray]:
        """Return the outputs of a signature; empty where the answer has none."""


def with_retries(call: Callable[[], T], retries: int, where: str) -> T:
    """Call until it works, waiting longer each time.

    Args:
        call: Function that raises `PassingError` where another try may help.
        retries: Number of further tries.
        where: Name of the server, for the message.

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
            # At random times, so that clients do not all come at once again.
            time.sleep(FIRST_WAIT_SECONDS * 2**attempt * random.uniform(0.5, 1))
    raise AssertionError("unreachable")


class GrpcModel(RemoteModel):
    """A model over gRPC.

    Args:
        server: Host and port, such as `localhost:8500`.
        name: Name of the model.
        timeout: Seconds for a request.
        tls: PEM files: authority, client's certificate and key. TLS needs the first,
            mutual TLS all three.
    """

    def __init__(
        self, server: str, name: str, timeout: float, tls: Sequence[Path]
    ) -> None:
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        options = [
            ("grpc.max_receive_message_length", -1),
            # Otherwise it waits ever longer for a server that comes back.
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        if tls:
            _tls_context(tls)  # gRPC does not name files that it cannot use
            authority, *client_files = [path.read_bytes() for path in tls]
            certificate, key = client_files or (None, None)
            credentials = grpc.ssl_channel_credentials(authority, key, certificate)
            channel = grpc.secure_channel(server, credentials, options)
        else:
            channel = grpc.insecure_channel(server, options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._name, self._timeout = name, timeout

    def columns(self) -> list[str]:
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(
            metadata_field=["signature_def"]
        )
        request.model_spec.name = self._name
        answer = self._call(self._stub.GetModelMetadata, request)
        definitions = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(definitions)
        signatures = definitions.signature_def
        if UNKNOWN_SIGNATURE in signatures and COVERAGE_SIGNATURE in signatures:
            shape = signatures[UNKNOWN_SIGNATURE].outputs[COUNTS[0]].tensor_shape
            self._num_counted = shape.dim[1].size
        return list(signatures[RAW_SIGNATURE].inputs)

    def _predict(
        self, signature: str, inputs: Mapping[str, Sequence[bytes] | Sequence[int]]
    ) -> dict[str, np.ndarray]:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._name
        request.model_spec.signature_name = signature
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(_tensor(values))
        answer = self._call(self._stub.Predict, request)
        return {name: tf.make_ndarray(proto) for name, proto in answer.outputs.items()}

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            if error.code() in PASSING_STATUSES:
                raise PassingError(_one_line(error.details())) from None
            raise InputError(
                f"the server refuses: {_one_line(error.details())}"
            ) from None


class RestModel(RemoteModel):
    """A model over HTTP; every thread has its own connection.

    Args:
        server: Host and port, such as `localhost:8501`.
        name: Name of the model.
        timeout: Seconds for a request.
        tls: PEM files, as for `GrpcModel`.
    """

    def __init__(
        self, server: str, name: str, timeout: float, tls: Sequence[Path]
    ) -> None:
        self._server, self._timeout = server, timeout
        self._path = f"/v1/models/{quote(name, safe='')}"
        self._local = threading.local()
        self._tls = _tls_context(tls) if tls else None

    def columns(self) -> list[str]:
        answer = self._ask("GET", f"{self._path}/metadata", None)
        try:
            definitions = answer["metadata"]["signature_def"]["signature_def"]
            if UNKNOWN_SIGNATURE in definitions and COVERAGE_SIGNATURE in definitions:
                output = definitions[UNKNOWN_SIGNATURE]["outputs"][COUNTS[0]]
                self._num_counted = int(output["tensor_shape"]["dim"][1]["size"])
            return list(definitions.get(RAW_SIGNATURE, {}).get("inputs", {}))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            raise InputError(
                f"{self._server}{self._path}/metadata is {_one_line(str(answer))}, "
                "expected the signatures of a model: is this a server of models, and "
                "its port for REST?"
            ) from None

    def _predict(
        self, signature: str, inputs: Mapping[str, Sequence[bytes] | Sequence[int]]
    ) -> dict[str, np.ndarray]:
        plain = {name: list(map(_plain, values)) for name, values in inputs.items()}
        document = {"signature_name": signature, "inputs": plain}
        answer = self._ask("POST", f"{self._path}:predict", json.dumps(document))
        outputs = answer.get("outputs") if isinstance(answer, dict) else None
        if not isinstance(outputs, dict):  # the name of a single output is omitted
            outputs = {"probability": outputs}
        try:
            return {name: np.asarray(values) for name, values in outputs.items()}
        except ValueError:  # lists of different lengths
            return {}

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
        message = _one_line(f"{answer.status} {reason}")
        if answer.status in PASSING_HTTP_STATUSES:
            raise PassingError(message)
        raise InputError(f"the server refuses: {message}")

    def _connection(self) -> http.client.HTTPConnection:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = (
                http.client.HTTPSConnection(
                    self._server, timeout=self._timeout, context=self._tls
                )
                if self._tls
                else http.client.HTTPConnection(self._server, timeout=self._timeout)
            )
            self._local.connection = connection
        return connection


def _tensor(values: Sequence[bytes] | Sequence[int]) -> Any:
    from tensorflow.core.framework import tensor_pb2, types_pb2

    if values and isinstance(values[0], int):
        proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_INT64, int64_val=values)
    else:
        proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=values)
    proto.tensor_shape.dim.add(size=len(values))
    return proto


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]


def _tls_context(tls: Sequence[Path]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls[0])
        if len(tls) > 1:
            # Without a password argument it asks for one.
            context.load_cert_chain(tls[1], tls[2], password="")
    except OSError as error:
        raise InputError(
            f"TLS files {', '.join(map(str, tls))} cannot be used: {error}; expected "
            "PEM of an authority, a certificate and its key without a passphrase"
        ) from None
    return context


def _plain(value: bytes | int) -> str | int | dict[str, str]:
    if isinstance(value, int):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _decode(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
