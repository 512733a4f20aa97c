"""What the server and the process that reads large requests say to each other."""

import math
import pickle
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_LENGTH = struct.Struct("!Q")


@dataclass(frozen=True)
class Task:
    """A request to be read; its bytes follow.

    Args:
        message: Name of the protocol buffer; empty for JSON.
        is_gzip: Whether JSON is compressed.
        max_rows: More rows are refused.
        bounds: `JsonBounds`, or `None`.
    """

    message: str
    is_gzip: bool
    max_rows: int
    bounds: Any


class Channel:
    """Python objects over a socket; arrays and bytes go as they are, not pickled.

    Args:
        connection: A stream.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def send(self, value: Any) -> None:
        """Send a value.

        Raises:
            OSError: If the other side is gone.
        """
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(_packed(value), 5, buffer_callback=buffers.append)
        parts = [memoryview(head), *(each.raw() for each in buffers)]
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
        return _unpacked(pickle.loads(head, buffers=buffers))

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
    """Bytes objects, end to end."""

    lengths: np.ndarray
    blob: pickle.PickleBuffer
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Same:
    """An array of one value."""

    value: np.ndarray
    shape: tuple[int, ...]


def _packed(value: Any) -> Any:
    if isinstance(value, bytes):
        return pickle.PickleBuffer(value)
    if isinstance(value, dict):
        return {key: _packed(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_packed, value))
    if not isinstance(value, np.ndarray):
        return value
    if value.size > 1 and not any(value.strides):
        return _Same(_packed(np.array([value.flat[0]], value.dtype)), value.shape)
    if value.dtype == object:
        texts = value.ravel().tolist()
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        return _Texts(lengths, pickle.PickleBuffer(b"".join(texts)), value.shape)
    return np.ascontiguousarray(value)


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unpacked(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_unpacked, value))
    if isinstance(value, _Same):
        one = _unpacked(value.value)
        return np.broadcast_to(one, math.prod(value.shape)).reshape(value.shape)
    if isinstance(value, _Texts):
        array = np.empty(len(value.lengths), object)
        array[:] = _split(value.blob, np.cumsum(value.lengths).tolist())
        return array.reshape(value.shape)
    return value


def _split(blob: Any, ends: Sequence[int]) -> list[bytes]:
    texts, begin = bytes(blob), 0
    pieces = []
    for end in ends:
        pieces.append(texts[begin:end])
        begin = end
    return pieces
