"""TensorFlow's profiler service, on the port of the other gRPC services."""

import asyncio
from typing import Any

import grpc
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tfdlrm.serving.daemon import start_daemon

PROFILER_SERVICE = "tensorflow.ProfilerService"

_UINT64 = descriptor_pb2.FieldDescriptorProto.TYPE_UINT64
_STRING = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_BOOL = descriptor_pb2.FieldDescriptorProto.TYPE_BOOL

_MESSAGES = {
    "ProfileRequest": {"duration_ms": (1, _UINT64), "repository_root": (5, _STRING)},
    "ProfileResponse": {"empty_trace": (7, _BOOL)},
}
"""The fields that are used here; others are ignored, as protocol buffers do."""


def profiler_handlers() -> list[grpc.GenericRpcHandler]:
    """Return the handlers of the profiler service."""
    request_class, response_class = map(_message_class, _MESSAGES)
    is_running = asyncio.Lock()

    async def profile(payload: bytes, context: grpc.aio.ServicerContext) -> bytes:
        request: Any = request_class.FromString(payload)
        if not request.repository_root:
            text = "the request has no repository_root, a directory for the trace"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
        if is_running.locked():
            text = "another trace is being taken; try again later"
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, text)
        async with is_running:
            try:
                await _in_daemon(
                    tf.profiler.experimental.start, request.repository_root
                )
                try:
                    await asyncio.sleep(request.duration_ms / 1000)
                finally:
                    await _in_daemon(tf.profiler.experimental.stop)
            except tf.errors.OpError as error:
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, error.message)
        return response_class(empty_trace=False).SerializeToString()

    handler = grpc.unary_unary_rpc_method_handler(profile)
    methods = {"Profile": handler}
    return [grpc.method_handlers_generic_handler(PROFILER_SERVICE, methods)]


async def _in_daemon(function: Any, *arguments: Any) -> None:
    call = start_daemon(lambda: function(*arguments), "profiler")
    await asyncio.wrap_future(call)


def _message_class(name: str) -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="tfdlrm/profiler.proto", package="tfdlrm.profiler", syntax="proto3"
    )
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for field_name, (number, field_type) in fields.items():
            message.field.add(
                name=field_name,
                number=number,
                type=field_type,
                label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    descriptor = pool.FindMessageTypeByName(f"tfdlrm.profiler.{name}")
    return message_factory.GetMessageClass(descriptor)
