"""TF Serving's configuration files, in protocol buffers' text format.

The message of `--model_config_file` comes with `tensorflow-serving-api`; the others are
not in it, and are described here as TF Serving's sources have them.
"""

import re
from pathlib import Path
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
)
from tensorflow_serving.config import model_server_config_pb2

from tfdlrm.base.errors import InputError
from tfdlrm.serving.batching import BatchingParameters

_PACKAGE = "tfdlrm.serving"

_TYPES = {
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
}

_WRAPPED = "wrapped "
"""Before the type of a field that is a message with one field, `value`."""

_EXECUTED = "max_execution_batch_size"

_MESSAGES = {
    "BatchingParameters": {
        "max_batch_size": "wrapped int64",
        "batch_timeout_micros": "wrapped int64",
        "max_enqueued_batches": "wrapped int64",
        "num_batch_threads": "wrapped int64",
        "thread_pool_name": "wrapped string",
        "allowed_batch_sizes": "repeated int64",
        "pad_variable_length_inputs": "bool",
        "enable_large_batch_splitting": "wrapped bool",
        _EXECUTED: "wrapped int64",
    },
    "MonitoringConfig": {"prometheus_config": "PrometheusConfig"},
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "SSLConfig": {
        "server_key": "string",
        "server_cert": "string",
        "custom_ca": "string",
        "client_verify": "bool",
    },
    "WrappedInt64": {"value": "int64"},
    "WrappedString": {"value": "string"},
    "WrappedBool": {"value": "bool"},
}


def read_model_config(path: Path) -> model_server_config_pb2.ModelServerConfig:
    """Read `--model_config_file`."""
    config = _read(path, model_server_config_pb2.ModelServerConfig())
    if config.WhichOneof("config") != "model_config_list":
        raise InputError(f"{path} has no model_config_list")
    return config


def read_batching_parameters(path: Path) -> BatchingParameters:
    """Read `--batching_parameters_file`."""
    read: Any = _read(path, _new("BatchingParameters"))
    given: dict[str, Any] = {
        name: getattr(read, name).value
        for name in BatchingParameters.__dataclass_fields__
        if name != "allowed_batch_sizes" and read.HasField(name)
    }
    if read.enable_large_batch_splitting.value and read.HasField(_EXECUTED):
        # max_batch_size is then that of a request, which may have any here.
        given["max_batch_size"] = getattr(read, _EXECUTED).value
    try:
        return BatchingParameters(
            **given, allowed_batch_sizes=tuple(read.allowed_batch_sizes)
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_monitoring(path: Path) -> Any:
    """Read `--monitoring_config_file`: a `prometheus_config` with `enable`, `path`."""
    config = _read(path, _new("MonitoringConfig")).prometheus_config
    # Not one that another page of the server has.
    if not re.fullmatch(r"(?ai)(/(?!v1/|openapi\.json$)[\w.~/-]+)?", config.path):
        raise InputError(
            f"{path} has the path {config.path!r}, expected one such as "
            "/monitoring/prometheus/metrics"
        )
    return config


def read_ssl(path: Path) -> Any:
    """Read `--ssl_config_file`: PEM texts, and whether clients must show theirs."""
    config: Any = _read(path, _new("SSLConfig"))
    if not config.server_key or not config.server_cert:
        raise InputError(f"{path} lacks server_key or server_cert")
    if config.client_verify and not config.custom_ca:
        raise InputError(f"{path} has client_verify, which wants a custom_ca")
    return config


def _read(path: Path, into: Any) -> Any:
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), into)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is no {into.DESCRIPTOR.name} in text format: {error}"
        ) from None


def _new(name: str) -> Any:
    """Return an empty message."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    found = pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")
    return message_factory.GetMessageClass(found)()


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="tfdlrm/serving.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        described = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), start=1):
            added = described.field.add(name=field, number=number)
            added.label = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
            if kind.startswith("repeated "):
                kind = kind.removeprefix("repeated ")
                added.label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
            if kind.startswith(_WRAPPED):
                kind = f"Wrapped{kind.removeprefix(_WRAPPED).capitalize()}"
            if kind in _TYPES:
                added.type = _TYPES[kind]
            else:
                added.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
                added.type_name = f".{_PACKAGE}.{kind}"
    return file
