"""A model behind a server, over HTTP."""

import base64
import http.client
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from tfdlrm.base.errors import InputError
from tfdlrm.exporting.raw_columns import (
    COUNTS,
    COVERAGE_SIGNATURE,
    RAW_SIGNATURE,
    UNKNOWN_SIGNATURE,
)
from tfdlrm.serving.remote import (
    Inputs,
    PassingError,
    RemoteModel,
    one_line,
    refusal,
    tls_context,
)

PASSING_HTTP_STATUSES = {408, 429, 502, 503, 504}


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
        self._tls = tls_context(tls) if tls else None

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
                f"{self._server}{self._path}/metadata is {one_line(str(answer))}, "
                "expected the signatures of a model: is this a server of models, and "
                "its port for REST?"
            ) from None

    def _predict(self, signature: str, inputs: Inputs) -> dict[str, np.ndarray]:
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
        message = one_line(f"{answer.status} {reason}")
        if answer.status in PASSING_HTTP_STATUSES:
            raise PassingError(message)
        raise refusal(message)

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


def _plain(value: Any) -> Any:
    if isinstance(value, int):
        return value
    if isinstance(value, list):
        return list(map(_plain, value))
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}
