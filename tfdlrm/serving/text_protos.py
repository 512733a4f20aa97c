"""TF Serving's configuration files, in protocol buffers' text format.

The message of `--model_config_file` is in `tensorflow-serving-api`. The others are not,
and are described here as in TF Serving's sources.
"""

import re
from pathlib import Path
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.config import model_server_config_pb2

from tfdlrm.base.errors import InputError
from tfdlrm.serving.batching import BatchingParameters

_PACKAGE = "tfdlrm.serving"

_TYPES = {
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
}

_WRAPPERS = wrappers_pb2.DESCRIPTOR
"""File of `Int64Value` and so on: messages with one field, `value`."""

_EXECUTED = "max_execution_batch_size"

_MESSAGES = {
    "BatchingParameters": {
        "max_batch_size": "Int64Value",
        "batch_timeout_micros": "Int64Value",
        "max_enqueued_batches": "Int64Value",
        "num_batch_threads": "Int64Value",
        "thread_pool_name": "StringValue",
        "allowed_batch_sizes": "repeated int64",
        "pad_variable_length_inputs": "bool",
        "enable_large_batch_splitting": "BoolValue",
        _EXECUTED: "Int64Value",
    },
    "MonitoringConfig": {"prometheus_config": "PrometheusConfig"},
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "SSLConfig": {
        "server_key": "string",
        "server_cert": "string",
        "custom_ca": "string",
        "client_verify": "bool",
    },
}


def read_model_config(path: Path) -> model_server_config_pb2.ModelServerConfig:
    """Read `--model_config_file`."""
    config: model_server_config_pb2.ModelServerConfig = _read(
        path, model_server_config_pb2.ModelServerConfig()
    )
    return config


def read_batching_parameters(path: Path) -> BatchingParameters:
    """Read `--batching_parameters_file`."""
    message: Any = _read(path, _new("BatchingParameters"))
    parameters: dict[str, Any] = {
        name: getattr(message, name).value
        for name in BatchingParameters.__dataclass_fields__
        if name != "allowed_batch_sizes" and message.HasField(name)
    }
    if message.enable_large_batch_splitting.value and message.HasField(_EXECUTED):
        # max_batch_size then limits requests, which may have any size here.
        parameters["max_batch_size"] = getattr(message, _EXECUTED).value
    try:
        return BatchingParameters(
            **parameters, allowed_batch_sizes=tuple(message.allowed_batch_sizes)
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_monitoring(path: Path) -> Any:
    """Read `--monitoring_config_file`: a `prometheus_config` with `enable`, `path`."""
    config = _read(path, _new("MonitoringConfig")).prometheus_config
    # Not the path of another page of the server.
    if not re.fullmatch(r"(?ai)(/(?!v1/|openapi\.json$)[\w.~/-]+)?", config.path):
        raise InputError(
            f"{path} has the path {config.path!r}, expected one such as "
            "/monitoring/prometheus/metrics"
        )
    return config


def read_ssl(path: Path) -> Any:
    """Read `--ssl_config_file`: PEM texts, and whether clients need a certificate."""
    config: Any = _read(path, _new("SSLConfig"))
    if not config.server_key or not config.server_cert:
        raise InputError(f"{path} lacks server_key or server_cert")
    if config.client_verify and not config.custom_ca:
        raise InputError(f"{path} has client_verify, which wants a custom_ca")
    return config


def read_session_config(path: Path) -> config_pb2.ConfigProto:
    """Read `--tensorflow_session_config_file`."""
    config: config_pb2.ConfigProto = _read(path, config_pb2.ConfigProto())
    return config


def _read(path: Path, into: Any) -> Any:
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), into)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (text_format.ParseError, UnicodeDecodeError) as error:
        # Scripts look for TF Serving's words.
        name = into.DESCRIPTOR.full_name.replace(_PACKAGE, "tensorflow.serving")
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} is no {into.DESCRIPTOR.name} in text format: "
            f"Error parsing text-format {name}: {reason}"
        ) from None


def _new(name: str) -> Any:
    """Return an empty message."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(_WRAPPERS.serialized_pb)
    pool.AddSerializedFile(_file().SerializeToString())
    descriptor = pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")
    return message_factory.GetMessageClass(descriptor)()


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="tfdlrm/serving.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[_WRAPPERS.name],
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field_name, type_name) in enumerate(fields.items(), start=1):
            field = message.field.add(name=field_name, number=number)
            field.label = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
            if type_name.startswith("repeated "):
                type_name = type_name.removeprefix("repeated ")
                field.label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
            if type_name in _TYPES:
                field.type = _TYPES[type_name]
                continue
            is_wrapper = type_name in _WRAPPERS.message_types_by_name
            package = _WRAPPERS.package if is_wrapper else _PACKAGE
            field.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
            field.type_name = f".{package}.{type_name}"
    return file
