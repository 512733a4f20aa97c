"""Settings of the embedded server."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc

from tfdlrm.serving.batching import BatchingParameters
from tfdlrm.serving.grpc_settings import GrpcSettings
from tfdlrm.serving.http.rest import METRICS_PATH
from tfdlrm.serving.limits import Limits
from tfdlrm.serving.loading import Loading
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.shadow import ShadowSettings


@dataclass(frozen=True)
class ServerSettings:
    """Models, addresses, limits and TLS of a server.

    Args:
        models: Settings of each model.
        host: Address to listen at.
        port: Port for gRPC.
        rest_port: Port for HTTP; `None` for no HTTP.
        poll_seconds: Time between two looks for new versions; 0 for one look only.
        batching: Sizes and times of batches.
        is_batching: Whether requests share runs.
        limits: Limits on requests.
        metrics_path: Path of the page for Prometheus; `None` for none.
        grpc_tls: Credentials for gRPC.
        http_tls: Credentials for HTTP.
        allowed_hosts: Further host names that HTTP requests may use.
        takes_other_inputs: Whether a version may replace one with other inputs.
        loading: How versions are loaded.
        socket_path: Path of a Unix socket for gRPC; with port 0, gRPC has no port.
        channel_arguments: gRPC's own arguments by name.
        has_health: Whether gRPC has the health service.
        has_profiler: Whether gRPC has TensorFlow's profiler service.
        grpc_turns: Most gRPC requests that are answered at a time; `None` for any
            number.
        rest_turns: Most REST predictions that are answered at a time; `None` for any
            number.
        rest_seconds: Longest time for an HTTP request; `None` for that of `limits`.
        answers_other_sites: Whether pages of other sites may send requests.
        reports_unknown: Whether REST's answers list the unknown values of raw rows.
        checks_methods: Whether only classifiers classify, and only regressors regress.
        allows_missing_labels: Whether a label may name a version that is not served.
        config_file: Model config file to read again; `None` for none.
        config_poll_seconds: Time between two looks at it; 0 for none.
        shadow: Which requests are also run on another version; `None` for none.
        request_log_bytes: Most bytes of the request log of each model.
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
    loading: Loading = field(default_factory=Loading)
    socket_path: Path | None = None
    channel_arguments: Mapping[str, int | str] = field(default_factory=dict)
    has_health: bool = True
    has_profiler: bool = False
    grpc_turns: int | None = None
    rest_turns: int | None = None
    rest_seconds: float | None = None
    answers_other_sites: bool = False
    reports_unknown: bool = False
    checks_methods: bool = False
    allows_missing_labels: bool = True
    config_file: Path | None = None
    config_poll_seconds: float = 0.0
    shadow: ShadowSettings | None = None
    request_log_bytes: int = 2**30

    @property
    def grpc(self) -> GrpcSettings:
        """Where and how gRPC listens."""
        is_socket_only = self.socket_path is not None and not self.port
        return GrpcSettings(
            None if is_socket_only else f"{with_brackets(self.host)}:{self.port}",
            self.socket_path,
            self.grpc_tls,
            self.channel_arguments,
            self.grpc_turns,
            self.has_health,
            self.has_profiler,
        )

    @property
    def rest_limits(self) -> Limits:
        """Limits on HTTP requests."""
        if self.rest_seconds is None:
            return self.limits
        return replace(self.limits, seconds=self.rest_seconds)


def with_brackets(host: str) -> str:
    """Return a host as it stands before a port."""
    return f"[{host}]" if ":" in host else host
