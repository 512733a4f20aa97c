"""Requests that wait at the same time are answered by one run of the model."""

import asyncio
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import grpc
import numpy as np

from tfdlrm.base.errors import require
from tfdlrm.serving.batch_run import Task, deliver, run_tasks
from tfdlrm.serving.errors import ServingError
from tfdlrm.serving.servable import Arrays, Signature

Key = tuple[Signature, bool, tuple[tuple[int, ...], ...]]
"""Only requests of one signature and the same shapes of rows share a run.

The second value says whether they may share one at all.
"""


PART_ROWS = 256
"""Rows of each part of a large request; larger parts are hardly faster."""


@dataclass(frozen=True)
class BatchingParameters:
    """TF Serving's `batching_parameters`.

    Args:
        max_batch_size: Most rows in a batch; a larger request is run in parts.
        batch_timeout_micros: Time that a request waits for others to join. With 0,
            a batch holds the requests that came while the batch before it ran.
        max_enqueued_batches: Most batches that wait; further requests are refused.
        num_batch_threads: Most batches that run at the same time.
        allowed_batch_sizes: Batches are padded to one of these numbers of rows; empty
            means any number.
    """

    max_batch_size: int = 1024
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 64
    num_batch_threads: int = 1
    allowed_batch_sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
            require(getattr(self, name) >= 1, name, getattr(self, name), ">= 1")
        wait, sizes = self.batch_timeout_micros, self.allowed_batch_sizes
        require(wait >= 0, "batch_timeout_micros", wait, ">= 0")
        require(
            not sizes
            or (list(sizes) == sorted(set(sizes)) and sizes[-1] == self.max_batch_size),
            "allowed_batch_sizes",
            list(sizes),
            f"rising numbers that end with max_batch_size, {self.max_batch_size}",
        )

    def padded_rows(self, rows: int) -> int:
        """Return the number of rows that a batch of `rows` is padded to."""
        sizes = self.allowed_batch_sizes if rows else ()
        return next((size for size in sizes if size >= rows), rows)


class _Queue(deque[Task]):
    """Requests that may share a run, in order of arrival."""

    rows = 0

    def put(self, task: Task) -> None:
        self.append(task)
        self.rows += task.rows

    def take(self, max_rows: int) -> list[Task]:
        """Remove the first request and those after it, up to `max_rows` in all."""
        tasks = [self.popleft()]
        rows = tasks[0].rows
        while self and rows + self[0].rows <= max_rows:
            tasks.append(self.popleft())
            rows += tasks[-1].rows
        self.rows -= rows
        return tasks


class Batcher:
    """Queues of requests; everything but the runs happens in the event loop.

    The requests that wait when a run ends are the next batch. The busier the server,
    the more requests share a run, and a single request never waits.

    Args:
        parameters: Sizes and times.
        is_enabled: Whether requests share runs at all.
        observe_wait: Called with a model's name and the seconds that a request waited.
        observe_run: Called with a model's name and the seconds of a run.
    """

    def __init__(
        self,
        parameters: BatchingParameters,
        is_enabled: bool,
        observe_wait: Callable[[str, float], None],
        observe_run: Callable[[str, float], None],
    ) -> None:
        self._parameters = parameters
        self._is_enabled = is_enabled
        self._observe_wait, self._observe_run = observe_wait, observe_run
        self._queues: OrderedDict[Key, _Queue] = OrderedDict()
        # As in TF Serving, each request then has a run of its own, next to the others.
        num_cores = os.cpu_count() or 1
        self._num_threads = parameters.num_batch_threads if is_enabled else num_cores
        self._threads = ThreadPoolExecutor(self._num_threads, "batches")
        self._num_running = 0
        self._is_look_due = False
        self._timer: asyncio.TimerHandle | None = None

    async def run(
        self,
        signature: Signature,
        inputs: Arrays,
        rows: int,
        has_declared_shapes: bool = True,
    ) -> Arrays:
        """Run a request of checked inputs, a large one in parts.

        Other requests get their turns between the parts.

        Args:
            signature: Function to run.
            inputs: Inputs in the order of the signature's.
            rows: Number of rows in them.
            has_declared_shapes: Whether the first sizes are known to count rows.

        Raises:
            ServingError: If too many wait, or the model refuses the inputs.
        """
        parameters = self._parameters
        is_small = rows <= parameters.max_batch_size
        is_shared = self._shares_runs(signature, has_declared_shapes)
        if is_small or not is_shared:
            return await self.submit(signature, inputs, rows, has_declared_shapes)
        size = parameters.max_batch_size
        if not parameters.allowed_batch_sizes:
            size = min(size, PART_ROWS)
        parts = []
        for begin in range(0, rows, size):
            part = [array[begin : begin + size] for array in inputs]
            number = min(size, rows - begin)
            outputs = await self.submit(signature, part, number)
            if any(len(output) != number for output in outputs):
                # Not one output a row: an answer in parts would be another one.
                return await self.submit(signature, inputs, rows)
            parts.append(outputs)
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def submit(
        self,
        signature: Signature,
        inputs: Arrays,
        rows: int,
        has_declared_shapes: bool = True,
    ) -> "asyncio.Future[Arrays]":
        """Queue a request of checked inputs.

        Returns:
            A future of the outputs, which has the request's own rows only.

        Raises:
            ServingError: UNAVAILABLE if too many wait, as in TF Serving.
        """
        is_shared = self._shares_runs(signature, has_declared_shapes)
        key = (signature, is_shared, tuple(array.shape[1:] for array in inputs))
        queue = self._queues.setdefault(key, _Queue())
        max_rows = (
            self._parameters.max_batch_size * self._parameters.max_enqueued_batches
        )
        if queue and queue.rows + rows > max_rows:
            raise ServingError(
                grpc.StatusCode.UNAVAILABLE,
                f"The batch scheduling queue is full: {queue.rows} rows wait, the most "
                f"are {max_rows}; try again later",
            )
        loop = asyncio.get_running_loop()
        task = Task(inputs, rows, loop.create_future())
        queue.put(task)
        self._look_soon()
        return task.future

    async def close(self) -> None:
        """Wait until all runs have ended."""
        await asyncio.to_thread(self._threads.shutdown)

    def _look_soon(self) -> None:
        # Later, so that requests which the event loop has yet to read can join.
        if not self._is_look_due:
            self._is_look_due = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        """Run the batches that are due, one of each queue in turn."""
        self._is_look_due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waits = []
        for key in list(self._queues):
            if self._num_running >= self._num_threads:
                return  # looks again when a run ends
            queue = self._queues[key]
            signature, is_shared, _ = key
            wait = self._wait_seconds(queue) if is_shared else 0.0
            if wait > 0:
                waits.append(wait)
                continue
            self._start(signature, is_shared, queue)
            if queue:
                self._queues.move_to_end(key)
                self._look_soon()
            else:
                del self._queues[key]
        if waits:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(waits), self._look_soon)

    def _wait_seconds(self, queue: _Queue) -> float:
        """Return how long the first request of a queue may still wait for others."""
        patience = self._parameters.batch_timeout_micros / 1e6
        is_full = queue.rows >= self._parameters.max_batch_size
        if not patience or is_full:
            return 0.0
        return queue[0].start + patience - time.perf_counter()

    def _shares_runs(self, signature: Signature, has_declared_shapes: bool) -> bool:
        return self._is_enabled and signature.is_batched and has_declared_shapes

    def _start(self, signature: Signature, is_shared: bool, queue: _Queue) -> None:
        tasks = queue.take(self._parameters.max_batch_size if is_shared else 1)
        now = time.perf_counter()
        for task in tasks:
            self._observe_wait(signature.servable.name, now - task.start)
        # A client that went away needs no answer.
        tasks = [task for task in tasks if not task.future.done()]
        if not tasks:
            return
        # The clients may leave during the run, but the model must stay.
        signature.servable.acquire()
        self._num_running += 1
        loop = asyncio.get_running_loop()
        run = loop.run_in_executor(
            self._threads, self._run_and_time, signature, is_shared, tasks
        )
        run.add_done_callback(partial(self._end, signature, tasks))

    def _end(
        self,
        signature: Signature,
        tasks: Sequence[Task],
        run: "asyncio.Future[list[Arrays | ServingError]]",
    ) -> None:
        self._num_running -= 1
        signature.servable.release()
        deliver(tasks, run.result())
        if self._queues:
            self._look_soon()

    def _run_and_time(
        self, signature: Signature, is_shared: bool, tasks: Sequence[Task]
    ) -> list[Arrays | ServingError]:
        start = time.perf_counter()
        answers = run_tasks(signature, tasks, is_shared, self._parameters.padded_rows)
        self._observe_run(signature.servable.name, time.perf_counter() - start)
        return answers
