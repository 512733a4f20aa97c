"""Work of several threads, with its results in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def num_cores() -> int:
    """Return how many threads this process may run at once."""
    return len(os.sched_getaffinity(0))


def read_ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield the same items; a thread takes the next one while one is used."""
    iterator = iter(items)
    end = object()
    with ThreadPoolExecutor(max_workers=1) as thread:
        next_item = thread.submit(next, iterator, end)
        while (item := next_item.result()) is not end:
            next_item = thread.submit(next, iterator, end)
            yield item  # type: ignore[misc]


def map_in_order(
    function: Callable[[T], R], items: Iterable[T], workers: int | None = None
) -> Iterator[R]:
    """Yield `function` of each item, computed by several threads.

    Only a few items are held at once. It suits work in NumPy or Polars, which let
    other threads run.

    Args:
        function: The work; an exception in it is raised here, in its turn.
        items: The items, taken one by one as threads become free.
        workers: Number of threads; `None` for as many as there are cores.

    Example:

    >>> list(map_in_order(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    workers = workers or num_cores()
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers) as threads:
        try:
            for item in items:
                waiting.append(threads.submit(function, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
