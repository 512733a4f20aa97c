"""Requests that wait at the same time are answered by one run of the model."""

import asyncio
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import grpc
import numpy as np

from tfdlrm.errors import require
from tfdlrm.serving.errors import ServingError, from_tensorflow
from tfdlrm.serving.servable import Arrays, Signature

Key = tuple[Signature, tuple[tuple[int, ...], ...]]
"""Only requests of the same signature and the same row shapes go together."""


@dataclass(frozen=True)
class BatchingParameters:
    """TF Serving's `batching_parameters`.

    Args:
        max_batch_size: Most rows in a batch; a request of more is a batch by itself.
        batch_timeout_micros: How long a request waits for others to join. With 0,
            a batch is what came while the one before it ran.
        max_enqueued_batches: Most batches that wait; further requests are refused.
        num_batch_threads: Batches that run at the same time.
        allowed_batch_sizes: Batches are filled up to one of these numbers of rows;
            empty means any.
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

    def padded(self, rows: int) -> int:
        """The number of rows that a batch of `rows` is filled up to."""
        sizes = self.allowed_batch_sizes if rows else ()
        return next((size for size in sizes if size >= rows), rows)


@dataclass(eq=False)
class _Task:
    inputs: Arrays
    rows: int
    future: "asyncio.Future[Arrays]"
    start: float = field(default_factory=time.perf_counter)


class Batcher:
    """Queues of requests, and threads that run them.

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
        self._queues: OrderedDict[Key, deque[_Task]] = OrderedDict()
        self._rows: dict[Key, int] = {}
        self._wake = threading.Condition()
        self._is_closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batches {i}", daemon=True)
            for i in range(parameters.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self, signature: Signature, inputs: Arrays, rows: int
    ) -> "asyncio.Future[Arrays]":
        """Queue a request of checked inputs.

        Returns:
            The outputs to be, of the request's own rows.

        Raises:
            ServingError: RESOURCE_EXHAUSTED if too many wait.
        """
        shapes = tuple(array.shape[1:] for array in inputs)
        key = (signature, shapes)
        future = asyncio.get_running_loop().create_future()
        most = self._parameters.max_batch_size * self._parameters.max_enqueued_batches
        with self._wake:
            waiting = self._rows.get(key, 0)
            if waiting and waiting + rows > most:
                raise ServingError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"The batch scheduling queue is full: {waiting} rows wait, the "
                    f"most are {most}; try again later",
                )
            signature.servable.acquire()
            self._queues.setdefault(key, deque()).append(_Task(inputs, rows, future))
            self._rows[key] = waiting + rows
            self._wake.notify()
        return future

    def close(self) -> None:
        """Run what waits, and end the threads."""
        with self._wake:
            self._is_closing = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._wake:
                key = self._wait_for_batch()
                if key is None:
                    return
                tasks = self._take(key)
            try:
                self._answer(key[0], tasks)
            finally:
                for _ in tasks:
                    key[0].servable.release()

    def _wait_for_batch(self) -> Key | None:
        """The queue whose turn it is; `None` at the end."""
        patience = self._parameters.batch_timeout_micros / 1e6
        while True:
            if not self._queues:
                if self._is_closing:
                    return None
                self._wake.wait()
                continue
            if not patience or self._is_closing:
                return next(iter(self._queues))
            now = time.perf_counter()
            due = {
                key: queue[0].start + patience for key, queue in self._queues.items()
            }
            for key, when in due.items():
                if when <= now or self._rows[key] >= self._parameters.max_batch_size:
                    return key
            self._wake.wait(min(due.values()) - now)

    def _take(self, key: Key) -> list[_Task]:
        """The next batch of a queue, which then goes to the end of the line."""
        queue = self._queues.pop(key)
        most = self._parameters.max_batch_size if self._is_batched(key[0]) else 1
        tasks = [queue.popleft()]
        rows = tasks[0].rows
        while queue and rows + queue[0].rows <= most:
            tasks.append(queue.popleft())
            rows += tasks[-1].rows
        self._rows[key] -= rows
        if queue:
            self._queues[key] = queue
            self._wake.notify()
        else:
            del self._rows[key]
        return tasks

    def _is_batched(self, signature: Signature) -> bool:
        return self._is_enabled and signature.is_batched

    def _answer(self, signature: Signature, tasks: Sequence[_Task]) -> None:
        start = time.perf_counter()
        name = signature.servable.name
        for task in tasks:
            self._observe_wait(name, start - task.start)
        # A client that went away needs no answer.
        tasks = [task for task in tasks if not task.future.cancelled()]
        if not tasks:
            return
        answers = self._run(signature, tasks)
        self._observe_run(name, time.perf_counter() - start)
        loop = tasks[0].future.get_loop()
        loop.call_soon_threadsafe(_deliver, tasks, answers)

    def _run(
        self, signature: Signature, tasks: Sequence[_Task]
    ) -> list[Arrays | ServingError]:
        try:
            if not self._is_batched(signature):
                return [signature.run(*tasks[0].inputs)]
            return self._run_together(signature, tasks)
        # Whatever it is, it is this model's or these inputs', and others go on.
        except Exception as error:
            if len(tasks) == 1:
                return [from_tensorflow(error)]
        # One of the requests is at fault, and the others should not suffer for it.
        return [self._run(signature, [task])[0] for task in tasks]

    def _run_together(
        self, signature: Signature, tasks: Sequence[_Task]
    ) -> list[Arrays | ServingError]:
        rows = sum(task.rows for task in tasks)
        inputs = tasks[0].inputs
        if len(tasks) > 1:
            parts = zip(*(task.inputs for task in tasks), strict=True)
            inputs = [np.concatenate(part) for part in parts]
        missing = self._parameters.padded(rows) - rows
        if missing:
            inputs = [
                np.concatenate([array, np.repeat(array[:1], missing, 0)])
                for array in inputs
            ]
        outputs = signature.run(*inputs)
        for spec, output in zip(signature.outputs, outputs, strict=True):
            if len(output) != rows + missing:
                raise ValueError(
                    f"output {spec} has {len(output)} rows for {rows + missing}"
                )
        answers: list[Arrays | ServingError] = []
        begin = 0
        for task in tasks:
            end = begin + task.rows
            answers.append([output[begin:end] for output in outputs])
            begin = end
        return answers


def _deliver(tasks: Sequence[_Task], answers: Sequence[Arrays | ServingError]) -> None:
    for task, answer in zip(tasks, answers, strict=True):
        if task.future.done():  # cancelled meanwhile
            continue
        if isinstance(answer, ServingError):
            task.future.set_exception(answer)
        else:
            task.future.set_result(answer)
