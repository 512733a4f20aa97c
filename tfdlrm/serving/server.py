"""The embedded server: both protocols over one set of models, in one process."""

import asyncio
import gc
import logging
import signal
import ssl
import sys
from dataclasses import dataclass, field
from functools import partial

import grpc
import uvloop

from tfdlrm.serving.batching import Batcher, BatchingParameters
from tfdlrm.serving.grpc_server import GrpcServer
from tfdlrm.serving.http_server import HttpServer
from tfdlrm.serving.limits import Limits
from tfdlrm.serving.metrics import Metrics
from tfdlrm.serving.models import Models
from tfdlrm.serving.predictor import Predictor
from tfdlrm.serving.rest import METRICS_PATH, RestApp
from tfdlrm.serving.versions import ModelSettings

log = logging.getLogger("tfdlrm.serving")

GRACE_SECONDS = 30.0

SWITCH_SECONDS = 0.0005
"""The thread of the requests and those of the model take turns; Python's own 5 ms
would be most of the time that a request takes."""


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


def serve(settings: ServerSettings) -> None:
    """Serve until the process is asked to stop.

    Raises:
        InputError: If a model does not load, or a port is not free.
    """
    metrics = Metrics()
    models = Models(settings.models, metrics)
    models.load()
    # What is loaded now stays, so that later collections have less to look at.
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)
    uvloop.run(_serve(settings, models, metrics))


async def _serve(settings: ServerSettings, models: Models, metrics: Metrics) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, partial(_ask_to_stop, stop))
    batcher = Batcher(
        settings.batching, settings.is_batching, metrics.waited, metrics.ran
    )
    predictor = Predictor(models, batcher, settings.limits, metrics)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    grpc_server = GrpcServer(predictor, f"{host}:{settings.port}", settings.grpc_tls)
    servers: list[GrpcServer | HttpServer] = [grpc_server]
    said = f"gRPC {host}:{grpc_server.port}"
    if settings.rest_port is not None:
        app = RestApp(predictor, settings.metrics_path)
        http = HttpServer(
            app, settings.host, settings.rest_port, settings.http_tls, settings.limits
        )
        servers.append(http)
        scheme = "https" if settings.http_tls else "http"
        said = f"{said}, REST and page {scheme}://{host}:{http.port}/"
    for server in servers:
        await server.start()
    if settings.poll_seconds:
        models.watch(settings.poll_seconds)
    names = ", ".join(
        f"{model.settings.name} {'+'.join(map(str, model.available))}"
        for model in models
    )
    print(f"Serving {names}: {said}", flush=True)
    await stop.wait()
    models.close()
    await asyncio.gather(*(server.stop(GRACE_SECONDS) for server in servers))
    await asyncio.to_thread(batcher.close)


def _ask_to_stop(stop: asyncio.Event) -> None:
    if stop.is_set():  # asked twice: do not wait for anybody
        raise KeyboardInterrupt
    log.info("stopping: requests that came are answered")
    stop.set()
