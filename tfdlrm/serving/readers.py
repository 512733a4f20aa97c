"""Processes next to the server that read large requests, a few at a time."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import grpc

from tfdlrm.serving.errors import ServingError
from tfdlrm.serving.limits import Limits
from tfdlrm.serving.raw_column import ExampleColumns, RawColumn
from tfdlrm.serving.reader_channel import Task
from tfdlrm.serving.reader_handle import ReaderHandle
from tfdlrm.serving.tensor_specs import Specs

MOST_HELD = 8
"""Most requests of the largest size that may wait; of smaller ones, more may."""


class Reading:
    """A request that is being read by a process.

    Args:
        readers: Owner of the process.
        process: Process that has begun to read the request.
        head: Part of the request that names the model or signature.
    """

    def __init__(self, readers: "Readers", process: ReaderHandle, head: Any) -> None:
        self._readers = readers
        self._process: ReaderHandle | None = process
        self._examples: asyncio.Future[Any] | None = None
        self.head = head

    async def inputs(self, specs: Specs | ExampleColumns) -> Any:
        """Return the request's arrays, or its examples.

        Raises:
            ServingError: If they are not what is expected.
        """
        process, self._process = self._process, None
        assert process is not None
        return await self._readers.finish(process, specs)

    async def examples(self, columns: Mapping[str, RawColumn]) -> Any:
        """Return the request's serialized examples; may be called again.

        Args:
            columns: The raw columns of the model, by name.

        Raises:
            ServingError: If they are not what is expected.
        """
        if self._examples is None:
            self._examples = asyncio.ensure_future(self.inputs(ExampleColumns(columns)))
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
        self._idle = [ReaderHandle(memory) for _ in range(number)]
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

    async def finish(self, process: ReaderHandle, specs: Specs | ExampleColumns) -> Any:
        """Return the inputs of the request that a process has begun; take it back."""
        try:
            return await self._in_thread(process, process.finish, specs)
        finally:
            self.give_back(process)

    def give_back(self, process: ReaderHandle) -> None:
        """Take a process back."""
        self._idle.append(process)
        self._free.release()

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.close()
        self._threads.shutdown()

    async def _in_thread(
        self, process: ReaderHandle, function: Any, *arguments: Any
    ) -> Any:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, function, *arguments)
        except asyncio.CancelledError:
            process.kill()
            raise
