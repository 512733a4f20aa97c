"""Messages between the server and the process that reads large requests."""

import math
import pickle
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfdlrm.serving.data_types import text_array

_LENGTH = struct.Struct("!Q")


@dataclass(frozen=True)
class Task:
    """A request to be read; its bytes follow.

    Args:
        message: Name of the protocol buffer message; empty for JSON.
        is_gzip: Whether JSON is compressed.
        max_rows: More rows are refused.
        bounds: `JsonBounds`, or `None`.
    """

    message: str
    is_gzip: bool
    max_rows: int
    bounds: Any


class Channel:
    """Python objects over a socket; arrays and bytes are sent without pickling.

    Args:
        connection: Stream socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def send(self, value: Any) -> None:
        """Send a value.

        Raises:
            OSError: If the other side is gone.
        """
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(_pack(value), 5, buffer_callback=buffers.append)
        parts = [memoryview(head), *(buffer.raw() for buffer in buffers)]
        lengths = [part.nbytes for part in parts]
        self._socket.sendall(
            _LENGTH.pack(len(parts)) + b"".join(map(_LENGTH.pack, lengths))
        )
        for part in parts:
            self._socket.sendall(part)

    def receive(self) -> Any:
        """Receive a value.

        Raises:
            EOFError: If the other side is gone.
        """
        (number,) = _LENGTH.unpack(self._read(_LENGTH.size))
        lengths = struct.unpack(f"!{number}Q", self._read(number * _LENGTH.size))
        head, *buffers = map(self._read, lengths)
        return _unpack(pickle.loads(head, buffers=buffers))

    def _read(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            count = self._socket.recv_into(view)
            if not count:
                raise EOFError("the other side is gone")
            view = view[count:]
        return data


@dataclass(frozen=True)
class _Texts:
    """An array of byte strings, one after the other in one buffer."""

    lengths: np.ndarray
    blob: pickle.PickleBuffer
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Same:
    """An array that repeats one value."""

    value: np.ndarray
    shape: tuple[int, ...]


def _pack(value: Any) -> Any:
    if isinstance(value, bytes):
        return pickle.PickleBuffer(value)
    if isinstance(value, dict):
        return {key: _pack(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_pack, value))
    if not isinstance(value, np.ndarray):
        return value
    if value.size > 1 and not any(value.strides):
        return _Same(_pack(np.array([value.flat[0]], value.dtype)), value.shape)
    if value.dtype == object:
        texts = value.ravel().tolist()
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        return _Texts(lengths, pickle.PickleBuffer(b"".join(texts)), value.shape)
    return np.ascontiguousarray(value)


def _unpack(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unpack(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_unpack, value))
    if isinstance(value, _Same):
        repeated = _unpack(value.value)
        return np.broadcast_to(repeated, math.prod(value.shape)).reshape(value.shape)
    if isinstance(value, _Texts):
        texts = _split(value.blob, np.cumsum(value.lengths).tolist())
        return text_array(texts).reshape(value.shape)
    return value


def _split(blob: Any, ends: Sequence[int]) -> list[bytes]:
    texts, begin = bytes(blob), 0
    pieces = []
    for end in ends:
        pieces.append(texts[begin:end])
        begin = end
    return pieces
