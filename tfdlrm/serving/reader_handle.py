"""A process that reads large requests, as the server sees it."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import FileDescriptor
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

from tfdlrm.serving.errors import ServingError
from tfdlrm.serving.raw_column import ExampleColumns
from tfdlrm.serving.reader_channel import Channel, Task
from tfdlrm.serving.tensor_specs import Specs

_PROGRAM = "tfdlrm.serving.reader_process"
_NICENESS = 10
_MODULES = (
    example_pb2,
    predict_pb2,
    classification_pb2,
    regression_pb2,
    inference_pb2,
)


class ReaderHandle:
    """A process that reads one request after the other; it is started when needed.

    Args:
        memory: Most bytes that it may take for a request.
    """

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._is_killed = False

    def begin(self, task: Task, payload: Any) -> Any:
        """Read a request, and return the part that names the model or signature.

        Raises:
            ServingError: If it cannot be read.
        """
        with self._lock:
            self._is_killed = False
            is_fresh = self._process is None
            try:
                if is_fresh:
                    self._start()
                return self._exchange((task, payload))
            except (EOFError, OSError):
                self._end()
                if is_fresh or self._is_killed:
                    raise _gone() from None
        return self.begin(task, payload)  # the last request took too much memory

    def finish(self, specs: Specs | ExampleColumns) -> Any:
        """Return the request's arrays, or its examples.

        Raises:
            ServingError: If they are not what is expected.
        """
        with self._lock:
            try:
                return self._exchange((True, specs))
            except (EOFError, OSError):
                self._end()
                raise _gone() from None

    def abandon(self) -> None:
        """Forget the request that was begun."""
        with self._lock:
            try:
                self._channel.send((False, None))
            except OSError:
                self._end()

    def kill(self) -> None:
        """End the process at once, and so the wait for it."""
        process = self._process
        if process is not None:
            self._is_killed = True
            process.kill()

    def close(self) -> None:
        """End the process for good."""
        self.kill()
        with self._lock:
            self._end()

    def _start(self) -> None:
        server_end, process_end = socket.socketpair()
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        with process_end:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    _PROGRAM,
                    f"{process_end.fileno()}",
                    f"{self._memory}",
                ],
                pass_fds=[process_end.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
            )
        os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICENESS)
        self._socket, self._channel = server_end, Channel(server_end)
        self._channel.send(tuple(_files()))

    def _exchange(self, value: Any) -> Any:
        self._channel.send(value)
        is_good, *answer = self._channel.receive()
        if is_good:
            return answer[0]
        code, message, http_status = answer
        raise ServingError(grpc.StatusCode[code], message, http_status)

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._socket.close()
            self._process = None


def _gone() -> ServingError:
    return ServingError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "the process that read the request ended: expected a smaller request",
        413,
    )


def _files() -> list[bytes]:
    """Return the descriptors of the messages, each after those that it needs."""
    files: dict[str, bytes] = {}

    def add(file: FileDescriptor) -> None:
        if file.name not in files:
            for dependency in file.dependencies:
                add(dependency)
            files[file.name] = file.serialized_pb

    for module in _MODULES:
        add(module.DESCRIPTOR)
    return list(files.values())
