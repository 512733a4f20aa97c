"""Processes next to the server that read large requests, a few at a time."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
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
from tfdlrm.serving.limits import Limits
from tfdlrm.serving.reader_channel import Channel, Task
from tfdlrm.serving.tensor_specs import Specs

MOST_HELD = 8
"""Most requests of the largest size that may wait; of smaller ones, more may."""

_PROGRAM = "tfdlrm.serving.reader_process"
_NICENESS = 10
_MODULES = (
    example_pb2,
    predict_pb2,
    classification_pb2,
    regression_pb2,
    inference_pb2,
)


class _Process:
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

    def finish(self, specs: Specs | None) -> Any:
        """Return the request's arrays, or its examples where `specs` is `None`.

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


class Reading:
    """A request that is being read by a process.

    Args:
        readers: Owner of the process.
        process: Process that has begun to read the request.
        head: Part of the request that names the model or signature.
    """

    def __init__(self, readers: "Readers", process: _Process, head: Any) -> None:
        self._readers = readers
        self._process: _Process | None = process
        self._examples: asyncio.Future[Any] | None = None
        self.head = head

    async def inputs(self, specs: Specs | None) -> Any:
        """Return the request's arrays, or its examples where `specs` is `None`.

        Raises:
            ServingError: If they are not what is expected.
        """
        process, self._process = self._process, None
        assert process is not None
        return await self._readers.finish(process, specs)

    async def examples(self) -> Any:
        """Return the request's serialized examples; may be called again.

        Raises:
            ServingError: If they are not what is expected.
        """
        if self._examples is None:
            self._examples = asyncio.ensure_future(self.inputs(None))
        return await self._examples

    def close(self) -> None:
        """Forget the request if its inputs were not asked for."""
        if self._process is not None:
            self._process.abandon()
            self._readers.give_back(self._process)


class Held:
    """The bytes of a request that arrives and waits, until the context is left.

    Args:
        readers: Counter of the bytes of all requests.
        most: Most bytes of all requests together.
    """

    def __init__(self, readers: "Readers", most: int) -> None:
        self._readers = readers
        self._most = most
        self._size = 0

    def __enter__(self) -> "Held":
        return self

    def __exit__(self, *exc: object) -> None:
        self._readers.held_bytes -= self._size

    def set(self, size: int) -> None:
        """Set the number of bytes that have arrived.

        Raises:
            ServingError: UNAVAILABLE, if all requests together have too many.
        """
        self._readers.held_bytes += size - self._size
        self._size = size
        if self._readers.held_bytes > self._most:
            raise ServingError(
                grpc.StatusCode.UNAVAILABLE,
                "too many large requests wait to be read; try again later",
            )


class Readers:
    """The processes that read large requests.

    Args:
        limits: Limits on requests.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        number = max(1, (os.cpu_count() or 1) // 4)
        self._threads = ThreadPoolExecutor(number, "readers")
        self._free = asyncio.Semaphore(number)
        memory = 2**30 + 32 * limits.message_bytes
        self._idle = [_Process(memory) for _ in range(number)]
        self._processes = list(self._idle)
        self.held_bytes = 0

    def hold(self) -> "Held":
        """Count the bytes of a request while it arrives and waits."""
        return Held(self, MOST_HELD * self._limits.message_bytes)

    @asynccontextmanager
    async def read(
        self, task: Task, payload: tuple[bytes, ...]
    ) -> AsyncIterator[Reading]:
        """Read a request up to the part that names the model or signature.

        Args:
            task: Description of the request.
            payload: Its bytes, in pieces.

        Raises:
            ServingError: If it cannot be read.
        """
        await self._free.acquire()
        process = self._idle.pop()
        is_begun = False
        try:
            head = await self._in_thread(process, process.begin, task, payload)
            is_begun = True
        finally:
            if not is_begun:
                self.give_back(process)
        reading = Reading(self, process, head)
        try:
            yield reading
        finally:
            reading.close()

    async def finish(self, process: _Process, specs: Specs | None) -> Any:
        """Return the inputs of the request that a process has begun; take it back."""
        try:
            return await self._in_thread(process, process.finish, specs)
        finally:
            self.give_back(process)

    def give_back(self, process: _Process) -> None:
        """Take a process back."""
        self._idle.append(process)
        self._free.release()

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.close()
        self._threads.shutdown()

    async def _in_thread(
        self, process: _Process, function: Any, *arguments: Any
    ) -> Any:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, function, *arguments)
        except asyncio.CancelledError:
            process.kill()
            raise


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
