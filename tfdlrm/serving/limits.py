"""Limits on what one client may ask, so that the server has time for the others."""

from dataclasses import dataclass

from tfdlrm.base.errors import require


@dataclass(frozen=True)
class Limits:
    """Limits on requests.

    Args:
        message_bytes: Largest request, in either protocol.
        rows: Most rows in a request.
        requests: Most requests in progress at a time.
        seconds: Longest time that a request may take; over HTTP, its arrival included.
    """

    message_bytes: int = 64 * 2**20
    rows: int = 65_536
    requests: int = 4096
    seconds: float = 30.0

    def __post_init__(self) -> None:
        require(
            self.message_bytes >= 1, "max_message_bytes", self.message_bytes, ">= 1"
        )
        require(self.rows >= 1, "max_rows", self.rows, ">= 1")
        require(self.requests >= 1, "max_requests", self.requests, ">= 1")
        require(self.seconds > 0, "request_timeout_seconds", self.seconds, "> 0")
