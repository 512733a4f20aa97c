"""Read REST requests: small ones at once, large ones in another process."""

import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from tensorflow.core.example import example_pb2

from tfdlrm.exporting.raw_columns import RAW_SIGNATURE
from tfdlrm.serving.errors import ServingError
from tfdlrm.serving.http import json_examples, json_requests
from tfdlrm.serving.http.bodies import (
    INLINE_BYTES,
    JsonBounds,
    inflate_if_small,
    is_small,
    too_large,
)
from tfdlrm.serving.http.json_requests import Layout
from tfdlrm.serving.limits import Limits
from tfdlrm.serving.reader_channel import Task
from tfdlrm.serving.readers import Held, Readers, Reading
from tfdlrm.serving.requests import NamedArrays, as_only_input
from tfdlrm.serving.servable import Servable, Signature

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

MOST_LISTS = 2**22
"""Lists and objects in a request, where the model sets no other limit."""

_SLACK = 1000
"""Lists and values that a request has once, not once a row."""


class ClientGoneError(ConnectionError):
    """The client left before its request was complete."""


class RestRequest(Protocol):
    """A request that names its signature."""

    @property
    def signature_name(self) -> str:
        """Name of its signature, or an empty string."""

    @property
    def layout(self) -> Layout:
        """Layout of the inputs, and of the answer; known once they are read."""

    async def tensors(self, signature: Signature) -> NamedArrays:
        """Return the inputs of a `:predict` request."""

    async def examples(self, signature: Signature) -> NamedArrays:
        """Return the input of a `:classify` or `:regress` request."""


@dataclass
class _Small:
    document: Mapping[str, Any]
    signature_name: str
    max_rows: int
    layout: Layout = "row"

    async def tensors(self, signature: Signature) -> NamedArrays:
        with _naming_raw(signature):
            arrays, self.layout = json_requests.predict_inputs(
                self.document, signature.inputs, self.max_rows
            )
        return arrays

    async def examples(self, signature: Signature) -> NamedArrays:
        columns = signature.servable.columns
        examples = json_examples.examples(
            self.document, example_pb2.Example, self.max_rows, columns
        )
        return as_only_input(signature, examples)


@dataclass
class _Large:
    reading: Reading
    layout: Layout = "row"

    @property
    def signature_name(self) -> str:
        return self.reading.head

    async def tensors(self, signature: Signature) -> NamedArrays:
        with _naming_raw(signature):
            arrays, self.layout = await self.reading.inputs(signature.inputs)
        return arrays

    async def examples(self, signature: Signature) -> NamedArrays:
        columns = signature.servable.columns
        return as_only_input(signature, await self.reading.examples(columns))


@contextmanager
def _naming_raw(signature: Signature) -> Iterator[None]:
    """Name the signature that takes raw columns where another one refuses them."""
    try:
        yield
    except ServingError as error:
        raw = signature.servable.signatures.get(RAW_SIGNATURE)
        if raw is None or raw.inputs.keys() == signature.inputs.keys():
            raise
        if not any(repr(name) in error.message for name in raw.inputs):
            raise
        text = f'{error.message}; raw columns need "signature_name": "{RAW_SIGNATURE}"'
        raise ServingError(error.code, text, error.http_status) from None


async def answer_request(
    scope: Scope,
    receive: Receive,
    readers: Readers,
    limits: Limits,
    bounds: Callable[[], JsonBounds],
    answer: Callable[[RestRequest], Awaitable[bytes]],
) -> bytes:
    """Receive and read a request, and return the answer to it.

    Args:
        scope: ASGI's scope.
        receive: ASGI's callable.
        readers: Processes that read large requests.
        limits: Limits on requests.
        bounds: Function that returns the most that a valid request can hold.
        answer: Function that answers a request.

    Raises:
        ServingError: If the request cannot be read or answered.
        ClientGoneError: If the client leaves before the request is complete.
    """
    headers = dict(scope["headers"])
    is_gzip = _is_gzip(headers)
    with readers.hold() as held:
        parts = await _receive_body(headers, receive, limits.message_bytes, held)
        body = _small_body(parts, is_gzip, limits.message_bytes)
        if body is not None:
            document = json_requests.parse(body)
            name = json_requests.signature_name(document)
            return await answer(_Small(document, name, limits.rows))
        task = Task("", is_gzip, limits.rows, bounds())
        async with readers.read(task, tuple(parts)) as reading:
            return await answer(_Large(reading))


def json_bounds(servable: Servable, method: str, limits: Limits) -> JsonBounds:
    """Return the most that a request for any signature can hold.

    Args:
        servable: Version that is to answer it.
        method: `predict`, `classify` or `regress`.
        limits: Limits on requests.
    """
    sizes = [_per_row(signature) for signature in servable.signatures.values()]
    if method != "predict" or None in sizes:
        return JsonBounds(limits.message_bytes, MOST_LISTS, None)
    values, lists = map(max, zip(*filter(None, sizes), strict=True))
    return JsonBounds(
        limits.message_bytes,
        min(limits.rows * lists + _SLACK, MOST_LISTS),
        limits.rows * values + _SLACK,
    )


def _per_row(signature: Signature) -> tuple[int, int] | None:
    """Return the most values, and lists, objects and names, of a row in any layout."""
    values, lists = 0, 1
    for spec in signature.inputs.values():
        sizes = (-1,) if spec.shape is None else spec.shape[1:]
        if -1 in sizes or (spec.column is not None and spec.column.is_bag):
            return None
        count = math.prod(sizes)
        values += count
        # A text may be an object with a name; each input has a name too.
        lists += math.prod(sizes[:-1]) + 1 + (2 * count if spec.dtype.is_text else 0)
    return values, lists


def _is_gzip(headers: Mapping[bytes, bytes]) -> bool:
    encoding = headers.get(b"content-encoding", b"identity").decode("latin-1").lower()
    if encoding not in ("identity", "gzip"):
        text = f"Content-Encoding is {encoding[:20]}, expected gzip or none"
        raise ServingError(grpc.StatusCode.INVALID_ARGUMENT, text, 415)
    return encoding == "gzip"


async def _receive_body(
    headers: Mapping[bytes, bytes], receive: Receive, most: int, held: Held
) -> list[bytes]:
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > most:
        raise too_large(most)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise too_large(most)
        if size > INLINE_BYTES:
            held.set(size)
        if not message.get("more_body"):
            return parts


def _small_body(parts: list[bytes], is_gzip: bool, most: int) -> bytes | None:
    """Return the whole body, or `None` if it is large."""
    if len(parts) > 1 and sum(map(len, parts)) > INLINE_BYTES:
        return None
    body = b"".join(parts)
    if not is_gzip:
        return body if is_small(body) else None
    inflated = inflate_if_small(body)
    if inflated is not None and len(inflated) > most:
        raise too_large(most)
    return inflated
