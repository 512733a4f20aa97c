"""`python -m tfdlrm.serve`: serve exported models over TF Serving's protocols."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.devices import Device, use_device
from tfdlrm.base.errors import InputError, require

if TYPE_CHECKING:
    from tfdlrm.serving.limits import Limits
    from tfdlrm.serving.policies import ModelSettings
    from tfdlrm.serving.server import ServerSettings

SWITCHES = ("--enable_batching", "--allow_other_inputs")


@dataclass(frozen=True)
class ServeCommand:
    """Serve exported models as tensorflow_model_server does.

    Args:
        model_base_path: Directory of a model's versions, such as saved_models/dlrm;
            may be the first argument, without its name.
        model_name: Name that clients use; null means the name of the directory.
        model_config_file: ModelServerConfig in text format, for several models, version
            policies and labels; instead of model_base_path.
        host: Address to listen at; 0.0.0.0 lets other machines ask.
        port: Port for gRPC.
        rest_api_port: Port for REST, metrics and the web page; 0 for none of them.
        enable_batching: Answer requests that wait at the same time in one batch.
        batching_parameters_file: BatchingParameters in text format.
        monitoring_config_file: MonitoringConfig in text format: whether and where there
            are metrics for Prometheus.
        ssl_config_file: SSLConfig in text format: TLS for both ports, with
            client_verify for clients too.
        file_system_poll_wait_seconds: Time between two looks for new versions; 0 for
            one look only.
        allow_other_inputs: Let a new version take over although its inputs differ from
            those of the one that is served.
        allowed_hosts: Host names that HTTP requests may use next to localhost,
            addresses and names without a dot, separated by commas; * for any. Without
            it, other names are refused where host is a loopback address.
        max_message_bytes: Larger requests are refused.
        max_rows: Requests of more rows are refused.
        max_requests: Most requests in progress at a time.
        request_timeout_seconds: Longest time for a request; over HTTP, its arrival
            included.
        device: Device that holds and computes the models: `cpu`, or `gpu` for the first
            GPU of this machine.
    """

    model_base_path: Path | None = None
    model_name: str | None = None
    model_config_file: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8500
    rest_api_port: int = 8501
    enable_batching: bool = True
    batching_parameters_file: Path | None = None
    monitoring_config_file: Path | None = None
    ssl_config_file: Path | None = None
    file_system_poll_wait_seconds: float = 1.0
    allow_other_inputs: bool = False
    allowed_hosts: str | None = None
    max_message_bytes: int = 64 * 2**20
    max_rows: int = 65_536
    max_requests: int = 4096
    request_timeout_seconds: float = 30.0
    device: Device = "cpu"

    def __post_init__(self) -> None:
        if (self.model_base_path is None) == (self.model_config_file is None):
            raise InputError(
                "expected a directory of a model's versions, such as "
                "saved_models/dlrm, or else --model_config_file"
            )
        for name, rival, is_idle in (
            ("model_name", "model_config_file", self.model_config_file is not None),
            (
                "batching_parameters_file",
                "enable_batching=false",
                not self.enable_batching,
            ),
            ("monitoring_config_file", "rest_api_port=0", not self.rest_api_port),
        ):
            if is_idle and getattr(self, name) is not None:
                raise InputError(
                    f"--{name} has no effect with --{rival}: leave one of them out"
                )
        for name in ("port", "rest_api_port"):
            value = getattr(self, name)
            require(0 <= value < 2**16, name, value, "a number below 65536")
        wait = self.file_system_poll_wait_seconds
        require(wait >= 0, "file_system_poll_wait_seconds", wait, ">= 0")


def settings(command: ServeCommand) -> "ServerSettings":
    """Read the files that the command names.

    Raises:
        InputError: If one of them cannot be used.
    """
    from tfdlrm.serving.batching import BatchingParameters
    from tfdlrm.serving.server import METRICS_PATH, ServerSettings
    from tfdlrm.serving.text_protos import read_batching_parameters, read_monitoring
    from tfdlrm.serving.tls import load_tls

    batching = BatchingParameters()
    if command.batching_parameters_file is not None:
        batching = read_batching_parameters(command.batching_parameters_file)
    metrics_path: str | None = METRICS_PATH
    if command.monitoring_config_file is not None:
        monitoring = read_monitoring(command.monitoring_config_file)
        metrics_path = (monitoring.path or METRICS_PATH) if monitoring.enable else None
    grpc_tls, http_tls = None, None
    if command.ssl_config_file is not None:
        grpc_tls, http_tls = load_tls(command.ssl_config_file)
    return ServerSettings(
        models=_models(command),
        host=command.host,
        port=command.port,
        rest_port=command.rest_api_port or None,
        poll_seconds=command.file_system_poll_wait_seconds,
        batching=batching,
        is_batching=command.enable_batching,
        limits=_limits(command),
        metrics_path=metrics_path,
        grpc_tls=grpc_tls,
        http_tls=http_tls,
        allowed_hosts=tuple(filter(None, (command.allowed_hosts or "").split(","))),
        takes_other_inputs=command.allow_other_inputs,
    )


def _models(command: ServeCommand) -> "list[ModelSettings]":
    from tfdlrm.serving.policies import ModelSettings, from_config
    from tfdlrm.serving.text_protos import read_model_config

    if command.model_config_file is not None:
        config = read_model_config(command.model_config_file)
        return from_config(config, command.model_config_file)
    assert command.model_base_path is not None
    path = command.model_base_path
    return [ModelSettings(command.model_name or path.resolve().name, path)]


def _limits(command: ServeCommand) -> "Limits":
    from tfdlrm.serving.limits import Limits

    return Limits(
        command.max_message_bytes,
        command.max_rows,
        command.max_requests,
        command.request_timeout_seconds,
    )


def arguments(argv: Sequence[str]) -> list[str]:
    """Convert the arguments of `tensorflow_model_server` to those of `parse`.

    Example:

    >>> arguments(["saved_models/dlrm", "--enable_batching"])
    ['--model_base_path', 'saved_models/dlrm', '--enable_batching=true']
    """
    words = [
        f"{word}=true" if word in SWITCHES and successor.startswith("-") else word
        for word, successor in pairwise([*argv, "-"])
    ]
    if words and not words[0].startswith("-"):
        words.insert(0, "--model_base_path")
    return words


def main() -> None:
    command = parse(ServeCommand, "tfdlrm.serve", arguments(sys.argv[1:]))
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("tfdlrm.serving").setLevel(logging.INFO)
    server_settings = settings(command)
    logging.getLogger("tensorflow").setLevel(
        logging.ERROR
    )  # it warns that the loader is old
    use_device(command.device)

    from tfdlrm.serving.server import serve

    serve(server_settings)


if __name__ == "__main__":
    # Until a model is served, there is no request to finish.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    run_command(main)
