"""uvicorn in the server's event loop, with time limits on slow clients."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator

import uvicorn

from tfdlrm.base.errors import InputError
from tfdlrm.serving.http.protocol import limited_protocol
from tfdlrm.serving.http.rest import RestApp
from tfdlrm.serving.limits import Limits

KEEP_ALIVE_SECONDS = 75


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the command."""
        yield


class HttpServer:
    """The REST side of the server.

    Args:
        app: ASGI application that answers.
        host: Address to listen at.
        port: Port; 0 lets the system choose.
        tls: TLS context for HTTPS, or `None`.
        limits: Limits on the time of headers and the number of connections.

    Raises:
        InputError: If the address or port cannot be used.
    """

    def __init__(
        self,
        app: RestApp,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        limits: Limits,
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise InputError(
                f"REST cannot listen at {host}:{port}: {error.strerror or error}; "
                "expected a free --rest_api_port and an address of this machine"
            ) from None
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,
            http=limited_protocol(limits.seconds),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # clients' faults would fill the log
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            limit_concurrency=2 * limits.requests,
        )
        config.load()
        config.ssl = tls
        self._server = _Server(config)

    async def start(self) -> None:
        """Begin to answer."""
        self._task = asyncio.create_task(self._server.serve([self._socket]))
        while not self._server.started and not self._task.done():
            await asyncio.sleep(0.01)

    async def stop(self, seconds: float) -> None:
        """Accept no new requests, and finish those that came."""
        self._server.config.timeout_graceful_shutdown = round(seconds)
        self._server.should_exit = True
        await self._task
