"""The process that reads large requests, so that the server answers others meanwhile.

Python runs one thread at a time, and the parsers of JSON and of protocol buffers let no
other thread run until they are done. `readers` starts this process, which loads no
TensorFlow, and sends it what to read.
"""

import gc
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pool, field_mask_pb2, message_factory
from google.protobuf.message import DecodeError

from tfdlrm.serving.data_types import text_array
from tfdlrm.serving.errors import ServingError, refuse
from tfdlrm.serving.http import json_examples, json_requests
from tfdlrm.serving.http.bodies import read_body
from tfdlrm.serving.proto_requests import input_examples, tensor_inputs
from tfdlrm.serving.raw_column import ExampleColumns
from tfdlrm.serving.reader_channel import Channel, Task

EXAMPLE = "tensorflow.Example"

MAX_HEAD_BYTES = 2**16
"""Most bytes of a message without its tensors or examples."""

_BULK = ("input", "inputs")
_MEMORY_TO_KEEP = 2**29
"""A process that holds more bytes after a request is replaced by a fresh one."""

_STATISTICS = Path("/proc/self/statm")
"""The kernel's figures on memory; Linux only."""


class _Reader:
    """Reader of one request after the other.

    Args:
        files: Descriptors of the messages, each after those that it needs.
    """

    def __init__(self, files: Sequence[bytes]) -> None:
        self._pool = descriptor_pool.DescriptorPool()
        for file in files:
            self._pool.AddSerializedFile(bytes(file))
        self._request: Any = None

    def head(self, task: Task, payload: Any) -> Any:
        """Read a request, and return the part that names the model or signature."""
        self._task = task
        if not task.message:
            body = read_body(payload, task.is_gzip, task.bounds)
            self._request = json_requests.parse(body)
            return json_requests.signature_name(self._request)
        try:
            self._request = self._new(task.message).FromString(b"".join(payload))
        except DecodeError as error:
            refuse(f"the request is no {task.message.rpartition('.')[2]}: {error}")
        head = _without_bulk(self._request).SerializeToString()
        if len(head) > MAX_HEAD_BYTES:
            refuse(
                f"the request without its inputs has {len(head)} bytes, expected <= "
                f"{MAX_HEAD_BYTES}"
            )
        return head

    def inputs(self, specs: Any) -> Any:
        """Return the arrays of a request, or its examples for `ExampleColumns`."""
        request, max_rows = self._request, self._task.max_rows
        if self._task.message:
            if isinstance(specs, ExampleColumns):
                return text_array(input_examples(request.input, max_rows))
            return tensor_inputs(request.inputs, specs, max_rows)
        if isinstance(specs, ExampleColumns):
            examples = json_examples.examples(
                request, self._new(EXAMPLE), max_rows, specs.columns
            )
            return text_array(examples)
        return json_requests.predict_inputs(request, specs, max_rows)

    def forget(self) -> None:
        """Free the request."""
        self._request = None

    def _new(self, message: str) -> Any:
        descriptor = self._pool.FindMessageTypeByName(message)
        return message_factory.GetMessageClass(descriptor)


def _without_bulk(request: Any) -> Any:
    """Return a request without its tensors or examples."""
    names = [field.name for field, _ in request.ListFields()]
    mask = field_mask_pb2.FieldMask(paths=[name for name in names if name not in _BULK])
    head = type(request)()
    mask.MergeMessage(request, head)
    return head


def _answer(function: Any, *arguments: Any) -> tuple[Any, ...]:
    """Return True and a function's result, or False and why it refuses."""
    try:
        return True, function(*arguments)
    except ServingError as error:
        return False, error.code.name, error.message, error.http_status
    except MemoryError:
        text = "reading the request takes more memory than there is for one"
        return False, grpc.StatusCode.RESOURCE_EXHAUSTED.name, text, 413


def main(descriptor: int, memory: int) -> None:
    """Read requests until the server is gone.

    Args:
        descriptor: File descriptor of the socket to the server.
        memory: Most bytes to take for requests.
    """
    # The server decides when this process is over.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _limit_memory(memory)
    gc.disable()  # requests have millions of objects, and none in circles
    channel = Channel(socket.socket(fileno=descriptor))
    try:
        reader = _Reader(channel.receive())
        while _memory()[1] < _MEMORY_TO_KEEP:
            task, payload = channel.receive()
            answer = _answer(reader.head, task, payload)
            del payload
            channel.send(answer)
            if answer[0]:
                is_wanted, specs = channel.receive()
                if is_wanted:
                    channel.send(_answer(reader.inputs, specs))
            reader.forget()
    except (EOFError, OSError):
        pass  # the server is gone


def _limit_memory(size: int) -> None:
    if _STATISTICS.exists():
        size += _memory()[0]
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def _memory() -> tuple[int, int]:
    """Return the bytes of address space and of memory in use."""
    if not _STATISTICS.exists():
        return 0, 0
    addresses, resident, *_ = map(int, _STATISTICS.read_text().split())
    return addresses * resource.getpagesize(), resident * resource.getpagesize()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
