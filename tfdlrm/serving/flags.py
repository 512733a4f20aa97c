"""The flags of `tfdlrm.serve`: those of `tensorflow_model_server`, and some more.

Loads no TensorFlow, since the command line is read before it.
"""

from dataclasses import dataclass
from pathlib import Path

from tfdlrm.base.devices import Device
from tfdlrm.base.errors import InputError, require

RENAMED = {"allow_other_inputs": "allow_other_columns"}

SUBJECTS = {
    "most used": (
        "model_base_path",
        "model_name",
        "model_config_file",
        "host",
        "port",
        "rest_api_port",
        "enable_batching",
        "batching_parameters_file",
        "ssl_config_file",
        "device",
    ),
    "models and their versions": (
        "model_config_file_poll_wait_seconds",
        "file_system_poll_wait_seconds",
        "allow_version_labels_for_unavailable_models",
        "shadow",
        "allow_other_columns",
        "saved_model_tags",
        "prefer_tflite_model",
        "enable_signature_method_name_check",
    ),
    "loading": (
        "enable_model_warmup",
        "num_request_iterations_for_warmup",
        "max_num_load_retries",
        "load_retry_interval_micros",
        "num_load_threads",
        "num_unload_threads",
        "flush_filesystem_caches",
    ),
    "gRPC": (
        "grpc_socket_path",
        "grpc_channel_arguments",
        "grpc_max_threads",
        "enable_grpc_healthcheck_service",
        "enable_profiler",
    ),
    "HTTP": (
        "rest_api_num_threads",
        "rest_api_timeout_in_ms",
        "rest_api_enable_cors_support",
        "monitoring_config_file",
        "allowed_hosts",
        "report_unknown",
    ),
    "limits of requests": (
        "request_log_max_bytes",
        "max_message_bytes",
        "max_rows",
        "max_requests",
        "request_timeout_seconds",
    ),
    "TensorFlow and versions": (
        "tensorflow_",
        "per_process_gpu_memory_fraction",
        "version",
    ),
}
"""The order of the flags in `--help`."""


@dataclass(frozen=True)
class ServeCommand:
    """Serve exported models as tensorflow_model_server does. Its flags without a
    meaning here, such as those for a TPU, are accepted with a line in the log.

    Args:
        model_base_path: Directory of a model's versions, such as saved_models/dlrm;
            may be the first argument, without its name.
        model_name: Name that clients use; null means the name of the directory.
        model_config_file: ModelServerConfig in text format, for several models, version
            policies and labels; instead of model_base_path.
        model_config_file_poll_wait_seconds: Time between two looks at the
            model_config_file, whose changes are served; 0 for one look only.
        allow_version_labels_for_unavailable_models: Let a label name a version that is
            not served; requests for it are not found.
        host: Address to listen at; 0.0.0.0 lets other machines ask.
        port: Port for gRPC.
        grpc_socket_path: Path of a Unix socket on which gRPC listens too; with port 0
            instead of a port.
        grpc_channel_arguments: Settings of gRPC's channels, such as
            grpc.max_connection_age_ms=2000, separated by commas.
        grpc_max_threads: Most gRPC requests that are answered at a time, while others
            wait; 0 for as many as max_requests.
        enable_grpc_healthcheck_service: Answer gRPC's health checks.
        enable_profiler: Let TensorFlow's profiler take traces over gRPC, which the
            server writes to the directory that the request names.
        rest_api_port: Port for REST, metrics and the web page; 0 for none of them.
        rest_api_num_threads: Most REST predictions that are answered at a time, while
            others wait; 0 for as many as max_requests.
        rest_api_timeout_in_ms: Longest time for an HTTP request, its arrival included;
            0 means request_timeout_seconds.
        rest_api_enable_cors_support: Let pages of all web sites send requests.
        enable_batching: Answer requests that wait at the same time in one batch.
        batching_parameters_file: BatchingParameters in text format.
        monitoring_config_file: MonitoringConfig in text format: whether and where there
            are metrics for Prometheus.
        ssl_config_file: SSLConfig in text format: TLS for both ports, with
            client_verify for clients too.
        file_system_poll_wait_seconds: Time between two looks for new versions; 0 for
            one look only.
        saved_model_tags: Tags of the graph to load from a SavedModel, separated by
            commas.
        prefer_tflite_model: Serve the file model.tflite of a version that has one.
        enable_signature_method_name_check: Refuse to classify or regress by a signature
            whose method is to predict.
        enable_model_warmup: Answer a version's warm-up requests before it is served.
        num_request_iterations_for_warmup: Number of times that each warm-up request is
            answered; 0 means once.
        max_num_load_retries: Further tries of a version that does not load.
        load_retry_interval_micros: Time between two tries of a version.
        num_load_threads: Models that are loaded at the same time; 0 for one after
            another.
        num_unload_threads: Versions that are unloaded at the same time; 0 for any
            number.
        flush_filesystem_caches: Drop the files of a loaded version from the system's
            memory.
        tensorflow_session_parallelism: Threads for TensorFlow's operations; 0 leaves
            their number to TensorFlow.
        tensorflow_intra_op_parallelism: Threads for one operation; 0 leaves their
            number to TensorFlow.
        tensorflow_inter_op_parallelism: Operations of one request that run at a time; 0
            runs one after another.
        tensorflow_session_config_file: TensorFlow's ConfigProto in text format.
        per_process_gpu_memory_fraction: Share of the GPU's memory to take; 0 leaves it
            to TensorFlow.
        allow_other_columns: Let a new version take over although its inputs, or what
            they mean, differ from those of the one that is served.
        shadow: Label of a version and a share of the requests, such as canary:0.05,
            which this version answers too. Clients get the usual answer; metrics
            compare the two.
        request_log_max_bytes: Most bytes of the files to which the logging_config of a
            model in model_config_file logs its requests; the oldest are removed.
        report_unknown: Let REST's answers to raw rows list the values that the model
            does not know, under the key `unknown`.
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
        version: Print the versions of this server and of TensorFlow, and end.
    """

    model_base_path: Path | None = None
    model_name: str | None = None
    model_config_file: Path | None = None
    model_config_file_poll_wait_seconds: float = 0.0
    allow_version_labels_for_unavailable_models: bool = True
    host: str = "127.0.0.1"
    port: int = 8500
    grpc_socket_path: Path | None = None
    grpc_channel_arguments: str = ""
    grpc_max_threads: int = 0
    enable_grpc_healthcheck_service: bool = True
    enable_profiler: bool = False
    rest_api_port: int = 8501
    rest_api_num_threads: int = 0
    rest_api_timeout_in_ms: int = 0
    rest_api_enable_cors_support: bool = False
    enable_batching: bool = True
    batching_parameters_file: Path | None = None
    monitoring_config_file: Path | None = None
    ssl_config_file: Path | None = None
    file_system_poll_wait_seconds: float = 1.0
    saved_model_tags: str = "serve"
    prefer_tflite_model: bool = False
    enable_signature_method_name_check: bool = False
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 0
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    num_load_threads: int = 0
    num_unload_threads: int = 0
    flush_filesystem_caches: bool = False
    tensorflow_session_parallelism: int = 0
    tensorflow_intra_op_parallelism: int = 0
    tensorflow_inter_op_parallelism: int = 0
    tensorflow_session_config_file: Path | None = None
    per_process_gpu_memory_fraction: float = 0.0
    allow_other_columns: bool = False
    shadow: str | None = None
    request_log_max_bytes: int = 2**30
    report_unknown: bool = False
    allowed_hosts: str | None = None
    max_message_bytes: int = 64 * 2**20
    max_rows: int = 65_536
    max_requests: int = 4096
    request_timeout_seconds: float = 30.0
    device: Device = "cpu"
    version: bool = False

    def __post_init__(self) -> None:
        if self.version:
            return
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
            ("report_unknown", "rest_api_port=0", not self.rest_api_port),
            ("shadow", "model_base_path", self.model_config_file is None),
        ):
            if is_idle and getattr(self, name) not in (None, False):
                raise InputError(
                    f"--{name} has no effect with --{rival}: leave one of them out"
                )
        for name in ("port", "rest_api_port"):
            value = getattr(self, name)
            require(0 <= value < 2**16, name, value, "a number below 65536")
        name, least = "request_log_max_bytes", 2**20
        value = self.request_log_max_bytes
        require(value >= least, name, value, f">= {least}")
        for name in (
            "file_system_poll_wait_seconds",
            "model_config_file_poll_wait_seconds",
            "grpc_max_threads",
            "rest_api_num_threads",
            "rest_api_timeout_in_ms",
        ):
            value = getattr(self, name)
            require(value >= 0, name, value, ">= 0")
