"""`python -m tfdlrm.serve`: serve exported models over TF Serving's protocols."""

import importlib.metadata
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.devices import use_device
from tfdlrm.base.version import __version__
from tfdlrm.serving.flags import RENAMED, SUBJECTS, ServeCommand
from tfdlrm.serving.foreign_flags import take_foreign

if TYPE_CHECKING:
    from tfdlrm.serving.limits import Limits
    from tfdlrm.serving.loading import Loading
    from tfdlrm.serving.policies import ModelSettings
    from tfdlrm.serving.server_settings import ServerSettings

log = logging.getLogger("tfdlrm.serving")


def settings(command: ServeCommand) -> "ServerSettings":
    """Read the files that the command names.

    Raises:
        InputError: If one of them cannot be used.
    """
    from tfdlrm.serving.batching import BatchingParameters
    from tfdlrm.serving.grpc_settings import channel_arguments
    from tfdlrm.serving.http.rest import METRICS_PATH
    from tfdlrm.serving.server_settings import ServerSettings
    from tfdlrm.serving.shadow import ShadowSettings
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
        takes_other_inputs=command.allow_other_columns,
        loading=_loading(command),
        socket_path=command.grpc_socket_path,
        channel_arguments=channel_arguments(command.grpc_channel_arguments),
        has_health=command.enable_grpc_healthcheck_service,
        has_profiler=command.enable_profiler,
        grpc_turns=command.grpc_max_threads or None,
        rest_turns=command.rest_api_num_threads or None,
        rest_seconds=command.rest_api_timeout_in_ms / 1000 or None,
        answers_other_sites=command.rest_api_enable_cors_support,
        reports_unknown=command.report_unknown,
        checks_methods=command.enable_signature_method_name_check,
        allows_missing_labels=command.allow_version_labels_for_unavailable_models,
        config_file=command.model_config_file,
        config_poll_seconds=command.model_config_file_poll_wait_seconds,
        shadow=None if command.shadow is None else ShadowSettings.parse(command.shadow),
        request_log_bytes=command.request_log_max_bytes,
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


def _loading(command: ServeCommand) -> "Loading":
    from tfdlrm.serving.loading import Loading, session_settings, tags_of
    from tfdlrm.serving.text_protos import read_session_config

    file = command.tensorflow_session_config_file
    return Loading(
        tags=tags_of(command.saved_model_tags),
        warm_up_runs=(command.num_request_iterations_for_warmup or 1)
        if command.enable_model_warmup
        else 0,
        max_retries=command.max_num_load_retries,
        retry_seconds=command.load_retry_interval_micros / 1e6,
        load_threads=command.num_load_threads,
        unload_threads=command.num_unload_threads,
        prefers_litert=command.prefer_tflite_model,
        drops_file_caches=command.flush_filesystem_caches,
        session=session_settings(
            read_session_config(file) if file is not None else None,
            command.tensorflow_session_parallelism,
            command.tensorflow_intra_op_parallelism,
            command.tensorflow_inter_op_parallelism,
            command.per_process_gpu_memory_fraction,
        ),
    )


def arguments(argv: Sequence[str]) -> list[str]:
    """Name the first argument of a command line if it has no name.

    Example:

    >>> arguments(["saved_models/dlrm", "--enable_batching"])
    ['--model_base_path', 'saved_models/dlrm', '--enable_batching']
    """
    is_path = bool(argv) and not argv[0].startswith("-")
    return ["--model_base_path", *argv] if is_path else list(argv)


def _print_versions() -> None:
    print(f"TensorFlow ModelServer: tfdlrm {__version__}")
    print(f"TensorFlow Library: {importlib.metadata.version('tensorflow')}")


def main() -> None:
    words, lines = take_foreign(sys.argv[1:])
    command = parse(
        ServeCommand,
        "tfdlrm.serve",
        arguments(words),
        renamed=RENAMED,
        subjects=SUBJECTS,
    )
    if command.version:
        _print_versions()
        return
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("tfdlrm.serving").setLevel(logging.INFO)
    for line in lines:
        log.warning("%s", line)
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
