"""The embedded server: gRPC and REST over one set of models, in one process."""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from functools import partial
from typing import Any, NoReturn

import uvloop

from tfdlrm.serving.batching import Batcher
from tfdlrm.serving.config_file import CONFIG_WATCHER, ConfigFile
from tfdlrm.serving.config_requests import RELOADER
from tfdlrm.serving.daemon import start_daemon
from tfdlrm.serving.grpc_server import GrpcServer
from tfdlrm.serving.http.hosts import AllowedHosts
from tfdlrm.serving.http.rest import RestApp
from tfdlrm.serving.http.server import HttpServer
from tfdlrm.serving.metrics import Metrics
from tfdlrm.serving.models import WATCHER, Models
from tfdlrm.serving.predictor import Predictor
from tfdlrm.serving.request_log import RequestLog
from tfdlrm.serving.server_settings import ServerSettings, with_brackets
from tfdlrm.serving.shadow import Shadow

log = logging.getLogger("tfdlrm.serving")

_LOADER = "first versions"
"""Name of the thread that loads models at the start."""

_LOADERS = (_LOADER, WATCHER, CONFIG_WATCHER, RELOADER)
"""Names of all threads that may be loading a version."""


class EmbeddedServer:
    """Both protocols over one set of models, in the event loop that starts it.

    Args:
        settings: Settings of the server; its models are loaded at once.

    Raises:
        InputError: If a model does not load.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._metrics = Metrics()
        self.models = Models(
            settings.models,
            self._metrics,
            settings.takes_other_inputs,
            settings.loading,
            settings.allows_missing_labels,
        )
        self.models.load()
        self._config_file: ConfigFile | None = None
        self.grpc: GrpcServer | None = None
        self.http: HttpServer | None = None

    async def start(self) -> None:
        """Begin to answer.

        Raises:
            InputError: If a port is not free.
        """
        settings, metrics = self._settings, self._metrics
        self._batcher = Batcher(
            settings.batching,
            settings.is_batching,
            metrics.count_wait,
            metrics.count_run,
        )
        self._request_log = RequestLog(
            self.models.logging_of, metrics, settings.request_log_bytes
        )
        self._shadow = self._new_shadow()
        predictor = Predictor(
            self.models,
            self._batcher,
            settings.limits,
            metrics,
            settings.checks_methods,
            self._request_log,
            self._shadow,
        )
        self._readers = predictor.readers
        self.grpc = GrpcServer(predictor, settings.grpc)
        if settings.rest_port is not None:
            app = RestApp(
                predictor,
                settings.metrics_path,
                AllowedHosts(settings.host, settings.allowed_hosts),
                settings.rest_limits,
                settings.rest_turns,
                settings.answers_other_sites,
                settings.reports_unknown,
            )
            self.http = HttpServer(
                app,
                settings.host,
                settings.rest_port,
                settings.http_tls,
                settings.rest_limits,
            )
        for server in self._servers:
            await server.start()
        if settings.poll_seconds:
            self.models.watch(settings.poll_seconds)
        if settings.config_file is not None and settings.config_poll_seconds:
            retry_seconds = settings.loading.retry_seconds
            file = ConfigFile(settings.config_file, self.models, retry_seconds)
            file.watch(settings.config_poll_seconds)
            self._config_file = file

    async def stop(self) -> None:
        """Accept no new requests, and answer those that came."""
        self.models.close()
        if self._config_file is not None:
            self._config_file.close()
        settings = self._settings
        seconds = max(settings.limits.seconds, settings.rest_limits.seconds)
        await asyncio.gather(*(server.stop(seconds) for server in self._servers))
        if self._shadow is not None:
            await self._shadow.close()
        await self._batcher.close()
        await asyncio.to_thread(self._readers.close)
        await asyncio.to_thread(self._request_log.close)

    def _new_shadow(self) -> Shadow | None:
        """Return what runs a share of the requests on another version too."""
        settings, metrics = self._settings, self._metrics
        if settings.shadow is None:
            return None
        label = settings.shadow.label
        if not any(label in model.settings.labels for model in self.models):
            log.warning("no model has the label %s, which shadow names", label)

        def ignore(model: str, seconds: float) -> None:
            """Leave these runs out of the counts of what clients asked for."""

        batcher = Batcher(settings.batching, settings.is_batching, ignore, ignore)
        return Shadow(
            settings.shadow, self.models, batcher, metrics, settings.limits.rows
        )

    @property
    def _servers(self) -> list[GrpcServer | HttpServer]:
        return [server for server in (self.grpc, self.http) if server is not None]

    def __str__(self) -> str:
        names = ", ".join(
            f"{model.settings.name} {'+'.join(map(str, model.available))}"
            for model in self.models
        )
        host = with_brackets(self._settings.host)
        addresses = []
        if self.grpc and self.grpc.port is not None:
            addresses.append(f"gRPC {host}:{self.grpc.port}")
        if self._settings.socket_path is not None:
            addresses.append(f"gRPC unix:{self._settings.socket_path}")
        if self.http:
            scheme = "https" if self._settings.http_tls else "http"
            addresses.append(f"REST and page {scheme}://{host}:{self.http.port}/")
        return f"{names}: {', '.join(addresses)}"


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
    loop.set_exception_handler(_report_defect)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, partial(_ask_to_stop, stop, number))
    stopped = asyncio.create_task(stop.wait())
    # So that the process can be stopped meanwhile.
    loading = asyncio.wrap_future(
        start_daemon(lambda: EmbeddedServer(settings), _LOADER)
    )
    events: set[asyncio.Future[Any]] = {loading, stopped}
    await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
    if not loading.done():
        return
    server = loading.result()
    # Later collections skip all that is loaded now, which stays.
    gc.collect()
    gc.freeze()
    await server.start()
    print(f"Serving {server}", flush=True)
    await stopped
    await server.stop()


def _report_defect(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Clients that leave or speak no TLS would fill the log.
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)


def _leave_loaders() -> None:
    """End the process if a version is still being loaded.

    TensorFlow cannot be asked to stop loading, and an orderly exit would abort in it.
    """
    threads = [thread for thread in threading.enumerate() if thread.name in _LOADERS]
    for thread in threads:
        thread.join(timeout=0.5)
    if any(thread.is_alive() for thread in threads):
        _leave(0)


def _ask_to_stop(stop: asyncio.Event, number: signal.Signals) -> None:
    if stop.is_set():  # asked twice: wait for no request
        _leave(128 + number)
    log.info("stopping: requests that came are answered")
    stop.set()


def _leave(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
