"""uvicorn's protocol, with limits on what a connection sends and how long it stays."""

import asyncio
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MAX_HEAD_BYTES = 2**16
"""Most bytes of a head, of trailers, and between two pieces of a body."""

MAX_HEADERS = 256

MAX_PIPELINED = 128
"""Most requests that wait for another one on the same connection."""

LINGER_SECONDS = 5.0
"""Time for which the rest of a request is read and dropped after an early answer.

Closing at once would reset the connection, and the client might not see the answer.
"""

LINGER_BYTES = 2**20
"""Most bytes that are read and dropped where the head or the trailers are refused."""


class _RefusedError(Exception):
    """The rest of the bytes is not read."""


def limited_protocol(seconds: float) -> type[HttpToolsProtocol]:
    """Return a protocol class.

    Args:
        seconds: Longest time for a request's head, and for a client that does not read
            its answer.
    """
    return type("LimitedProtocol", (_LimitedProtocol,), {"seconds": seconds})


class _LimitedProtocol(HttpToolsProtocol):
    seconds: float

    _waiting: asyncio.TimerHandle | None = None
    _lingering: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None
    _is_between_requests = True
    _is_in_head = False
    _has_progress = False
    _unfinished_bytes = 0
    """Bytes since the last head or piece of a body was complete."""
    _header_bytes = 0
    _num_headers = 0
    _answers = 0
    _is_refused = False
    _refusal = (400, "the bytes are no HTTP/1.1 request")

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._is_refused:
            self._unfinished_bytes += len(data)
            if self._unfinished_bytes > LINGER_BYTES:
                self.transport.close()
            return
        if self._is_between_requests:
            self._wait()
        self._has_progress = False
        super().data_received(data)
        if self._has_progress:
            self._unfinished_bytes = 0
            return
        self._unfinished_bytes += len(data)
        if self._unfinished_bytes > MAX_HEAD_BYTES and not self._is_refused:
            self._set_too_large()
            self.send_400_response("")

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer a client that sent a whole request and then closed its side."""
        cycle = self.cycle
        is_answered = cycle is None or (cycle.response_complete and not self.pipeline)
        is_gone = is_answered or cycle.more_body or self._is_refused
        if is_gone or self.scheme == "https":  # TLS has no side that closes alone
            return None  # close
        self._cancel("_waiting")
        cycle.keep_alive = False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        for name in ("_waiting", "_lingering", "_writing"):
            self._cancel(name)
        super().connection_lost(exc)

    # Parser callbacks
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_between_requests, self._is_in_head = False, True
        self._header_bytes = self._num_headers = 0
        self._wait()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._num_headers += 1
        self._count(len(name) + len(value) + len(": \r\n"))
        if self._is_in_head:  # trailers are not looked at
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._cancel("_waiting")
        self._is_in_head, self._has_progress = False, True
        self._header_bytes = self._num_headers = 0
        if len(self.pipeline) >= MAX_PIPELINED:
            raise _RefusedError
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._has_progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_between_requests = self._has_progress = True
        super().on_message_complete()
        if self._lingering is not None:
            self._cancel("_lingering")
            self._wait()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body:
            self._unset_keepalive_if_required()
            self._lingering = self.loop.call_later(LINGER_SECONDS, self.transport.close)
        self._answers += 1
        if self._writing is None:
            self._watch_writing(before=None)

    def send_400_response(self, msg: str) -> None:
        """Refuse the bytes that come, after the answers to the requests before."""
        del msg
        cycle, status = self.cycle, self._refusal[0]
        is_waiting = cycle is not None and not cycle.response_complete
        if is_waiting and not cycle.more_body:
            cycle.keep_alive = False
            self.flow.pause_reading()
            return
        if is_waiting and (self.pipeline or cycle.response_started):
            self.transport.abort()
            return
        if self._lingering is not None:  # it has its answer
            self.transport.close()
            return
        if is_waiting:
            cycle.disconnected = True  # its own answer would come too late
            cycle.message_event.set()
        body = orjson.dumps({"error": self._refusal[1]})
        head = (
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(STATUS_LINE[status] + head.encode() + body)
        self._is_refused = True
        self._cancel("_waiting")
        self._lingering = self.loop.call_later(LINGER_SECONDS, self.transport.close)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _count(self, number: int) -> None:
        self._header_bytes += number
        if self._header_bytes > MAX_HEAD_BYTES or self._num_headers > MAX_HEADERS:
            self._set_too_large()
            raise _RefusedError

    def _set_too_large(self) -> None:
        self._refusal = (
            431,
            f"the request's head or trailers are larger than {MAX_HEAD_BYTES} bytes or "
            f"{MAX_HEADERS} fields",
        )

    def _wait(self) -> None:
        """Close the connection unless a whole head comes in time."""
        if self._waiting is None:
            self._waiting = self.loop.call_later(self.seconds, self.transport.abort)

    def _watch_writing(self, before: tuple[int, int] | None) -> None:
        """Close the connection of a client that does not read its answers.

        Args:
            before: Unsent bytes and number of answers at the last look; `None` at the
                first one.
        """
        self._writing = None
        unread = self.transport.get_write_buffer_size()
        if not unread:
            return
        # A client gets further answers only if it reads the earlier ones.
        if before is not None and unread >= before[0] and self._answers == before[1]:
            self.transport.abort()
            return
        self._writing = self.loop.call_later(
            self.seconds, self._watch_writing, (unread, self._answers)
        )

    def _cancel(self, name: str) -> None:
        timer = getattr(self, name)
        if timer is not None:
            timer.cancel()
            setattr(self, name, None)
