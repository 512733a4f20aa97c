"""The embedded server: both protocols over one set of models, in one process."""

import asyncio
import gc
import logging
import os
import signal
import ssl
import sys
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

import grpc
import uvloop

from tfdlrm.serving.batching import Batcher, BatchingParameters
from tfdlrm.serving.grpc_server import GrpcServer
from tfdlrm.serving.http.hosts import AllowedHosts
from tfdlrm.serving.http.rest import METRICS_PATH, RestApp
from tfdlrm.serving.http.server import HttpServer
from tfdlrm.serving.limits import Limits
from tfdlrm.serving.metrics import Metrics
from tfdlrm.serving.models import WATCHER, Models
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.predictor import Predictor

log = logging.getLogger("tfdlrm.serving")

_LOADER = "first versions"
"""Name of the thread that loads what is there at the start."""


@dataclass(frozen=True)
class ServerSettings:
    """What to serve, where and how.

    Args:
        models: The models.
        host: Address to listen at.
        port: For gRPC.
        rest_port: For HTTP; `None` for no HTTP.
        poll_seconds: Time between two looks for new versions; 0 for one look only.
        batching: Sizes and times.
        is_batching: Whether requests share runs.
        limits: What a client may ask for.
        metrics_path: Where Prometheus finds its page; `None` for nowhere.
        grpc_tls: Credentials for gRPC.
        http_tls: Credentials for HTTP.
        allowed_hosts: Names by which HTTP may be asked beside the usual ones.
        takes_other_inputs: Whether a version may replace one with other inputs.
    """

    models: list[ModelSettings]
    host: str = "127.0.0.1"
    port: int = 8500
    rest_port: int | None = 8501
    poll_seconds: float = 1.0
    batching: BatchingParameters = field(default_factory=BatchingParameters)
    is_batching: bool = True
    limits: Limits = field(default_factory=Limits)
    metrics_path: str | None = METRICS_PATH
    grpc_tls: grpc.ServerCredentials | None = None
    http_tls: ssl.SSLContext | None = None
    allowed_hosts: tuple[str, ...] = ()
    takes_other_inputs: bool = False


class EmbeddedServer:
    """Both protocols over one set of models, in the event loop that starts it.

    Args:
        settings: What to serve, where and how; the models are loaded at once.

    Raises:
        InputError: If a model does not load.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._metrics = Metrics()
        self.models = Models(
            settings.models, self._metrics, settings.takes_other_inputs
        )
        self.models.load()
        self.grpc: GrpcServer | None = None
        self.http: HttpServer | None = None

    async def start(self) -> None:
        """Answer from now on.

        Raises:
            InputError: If a port is not free.
        """
        settings, metrics = self._settings, self._metrics
        self._batcher = Batcher(
            settings.batching, settings.is_batching, metrics.waited, metrics.ran
        )
        predictor = Predictor(self.models, self._batcher, settings.limits, metrics)
        self._readers = predictor.readers
        address = f"{_bracketed(settings.host)}:{settings.port}"
        self.grpc = GrpcServer(predictor, address, settings.grpc_tls)
        if settings.rest_port is not None:
            self.http = HttpServer(
                RestApp(
                    predictor,
                    settings.metrics_path,
                    AllowedHosts(settings.host, settings.allowed_hosts),
                ),
                settings.host,
                settings.rest_port,
                settings.http_tls,
                settings.limits,
            )
        for server in self._servers:
            await server.start()
        if settings.poll_seconds:
            self.models.watch(settings.poll_seconds)

    async def stop(self) -> None:
        """Take no new requests, and answer those that came."""
        self.models.close()
        seconds = self._settings.limits.seconds
        await asyncio.gather(*(each.stop(seconds) for each in self._servers))
        await self._batcher.close()
        await asyncio.to_thread(self._readers.close)

    @property
    def _servers(self) -> list[GrpcServer | HttpServer]:
        return [each for each in (self.grpc, self.http) if each is not None]

    def __str__(self) -> str:
        names = ", ".join(
            f"{model.settings.name} {'+'.join(map(str, model.available))}"
            for model in self.models
        )
        host = _bracketed(self._settings.host)
        where = [f"gRPC {host}:{self.grpc.port}"] if self.grpc else []
        if self.http:
            scheme = "https" if self._settings.http_tls else "http"
            where.append(f"REST and page {scheme}://{host}:{self.http.port}/")
        return f"{names}: {', '.join(where)}"


def serve(settings: ServerSettings) -> None:
    """Serve until the process is asked to stop.

    Raises:
        InputError: If a model does not load, or a port is not free.
    """
    uvloop.run(_serve(settings))
    _leave_loaders()


async def _serve(settings: ServerSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_tell_of_defects)
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, partial(_ask_to_stop, stop, each))
    stopped = asyncio.create_task(stop.wait())
    loading = asyncio.wrap_future(_load_beside(settings))
    both: set[asyncio.Future[Any]] = {loading, stopped}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if not loading.done():
        return
    server = loading.result()
    # What is loaded now stays, so that later collections have less to look at.
    gc.collect()
    gc.freeze()
    await server.start()
    print(f"Serving {server}", flush=True)
    await stopped
    await server.stop()


def _tell_of_defects(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # A client is gone, or speaks no TLS: many of these would fill the log.
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)


def _load_beside(settings: ServerSettings) -> "Future[EmbeddedServer]":
    """Load the models in a thread, so that the process can be stopped meanwhile."""
    loaded: Future[EmbeddedServer] = Future()

    def load() -> None:
        try:
            server = EmbeddedServer(settings)
        except BaseException as error:
            loaded.set_exception(error)
        else:
            loaded.set_result(server)

    threading.Thread(target=load, name=_LOADER, daemon=True).start()
    return loaded


def _leave_loaders() -> None:
    """End the process if a version is being loaded still.

    TensorFlow cannot be asked to stop, and an orderly exit would abort in it.
    """
    threads = [
        thread for thread in threading.enumerate() if thread.name in (_LOADER, WATCHER)
    ]
    for thread in threads:
        thread.join(timeout=0.5)
    if any(thread.is_alive() for thread in threads):
        _leave(0)


def _ask_to_stop(stop: asyncio.Event, number: signal.Signals) -> None:
    if stop.is_set():  # asked twice: do not wait for anybody
        _leave(128 + number)
    log.info("stopping: requests that came are answered")
    stop.set()


def _leave(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
