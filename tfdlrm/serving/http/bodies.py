"""Check the size of a JSON request before it is parsed; loads no TensorFlow."""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc
import numpy as np

from tfdlrm.serving.errors import ServingError, refuse

INLINE_BYTES = 2**18
"""Larger requests are read in a process next to the server."""

INLINE_LISTS = 2_000
INLINE_VALUES = 12_000
"""So are requests of more lists and objects, or of more values; 256 rows have fewer."""

_CERTAINLY_SMALL_BYTES = 2**13
_STEP_BYTES = 2**20
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


@dataclass(frozen=True)
class JsonBounds:
    """The most that a valid request can hold.

    Args:
        size: Bytes, after inflating.
        lists: Lists and objects.
        values: Numbers, strings and so on; `None` where the model sets no limit.
    """

    size: int
    lists: int
    values: int | None


def is_small(body: bytes) -> bool:
    """Return whether parsing a request takes next to no time."""
    if len(body) <= _CERTAINLY_SMALL_BYTES:
        return True
    return (
        len(body) <= INLINE_BYTES
        and body.count(b"[") + body.count(b"{") <= INLINE_LISTS
        and body.count(b",") <= INLINE_VALUES
    )


def inflate_if_small(body: bytes) -> bytes | None:
    """Inflate a gzip body; return `None` if it is large.

    Raises:
        ServingError: If it is no gzip.
    """
    if len(body) > INLINE_BYTES:
        return None
    inflater = _inflater()
    inflated = _inflate(inflater, body, INLINE_BYTES + 1)
    if len(inflated) > INLINE_BYTES:
        return None
    _check_end(inflater)
    return inflated if is_small(inflated) else None


def read_body(parts: Sequence[bytes], is_gzip: bool, bounds: JsonBounds) -> bytes:
    """Join or inflate a request that keeps within bounds.

    Raises:
        ServingError: If it does not keep within bounds, or is no gzip.
    """
    body = b"".join(parts)
    counts = _Counts(bounds)
    if not is_gzip:
        counts.add(body)
        counts.check(body)
        return body
    inflater = _inflater()
    pieces: list[bytes] = []
    size = 0
    while not inflater.eof:
        piece = _inflate(inflater, body, _STEP_BYTES)
        body = inflater.unconsumed_tail
        size += len(piece)
        if size > bounds.size:
            raise too_large(bounds.size)
        if not piece and not body:
            break
        pieces.append(piece)
        was_too_many = counts.are_too_many
        counts.add(piece)
        if counts.are_too_many and not was_too_many:
            counts.check(b"".join(pieces))
    _check_end(inflater)
    body = b"".join(pieces)
    counts.check(body)
    return body


def too_large(most: int) -> ServingError:
    """Return the error of a request of too many bytes."""
    return ServingError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"the request is larger than {most} bytes",
        413,
    )


def _inflater() -> "zlib._Decompress":
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # gzip


def _inflate(inflater: "zlib._Decompress", body: bytes, most: int) -> bytes:
    try:
        return inflater.decompress(body, most)
    except zlib.error as error:
        refuse(f"the body is no gzip: {error}")


def _check_end(inflater: "zlib._Decompress") -> None:
    if not inflater.eof:
        refuse("the body is no gzip: its end is missing")
    if inflater.unused_data:
        refuse("the body is no gzip: there is more behind its end")


class _Counts:
    """Lists and values so far, counted by their brackets, commas and colons."""

    def __init__(self, bounds: JsonBounds) -> None:
        self._most: Mapping[str, float] = {
            "lists and objects": bounds.lists,
            "names": bounds.lists,
            # A comma stands between two values, or two of their lists.
            "values": float("inf")
            if bounds.values is None
            else bounds.values + bounds.lists,
        }
        self._counts = dict.fromkeys(self._most, 0)

    @property
    def are_too_many(self) -> bool:
        """Whether there are too many, characters in strings included."""
        return self._too_many(self._counts) is not None

    def add(self, text: bytes) -> None:
        """Count what is in a piece of the request."""
        for name, number in _count(text).items():
            self._counts[name] += number

    def check(self, text: bytes) -> None:
        """Refuse the request if there are too many outside of strings too."""
        if not self.are_too_many:
            return
        # The last string may be cut off; all after its quote belongs to it.
        counts = _count(_STRING.sub(b"", text).partition(b'"')[0])
        name = self._too_many(counts)
        if name is not None:
            refuse(
                f"JSON Parse error: more than {counts[name] - 1} {name}, expected <= "
                f"{self._most[name]:.0f}, the most that a valid one can have"
            )

    def _too_many(self, counts: Mapping[str, int]) -> str | None:
        return next((name for name in counts if counts[name] > self._most[name]), None)


def _count(text: bytes) -> dict[str, int]:
    array = np.frombuffer(text, np.uint8)
    lists, objects, commas, colons = (
        int(np.count_nonzero(array == ord(sign))) for sign in "[{,:"
    )
    return {"lists and objects": lists + objects, "names": colons, "values": commas}
