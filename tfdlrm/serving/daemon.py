"""Threads that do not keep the process alive: loading cannot be asked to stop."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def start_daemon(function: Callable[[], T], name: str) -> "Future[T]":
    """Call a function in a thread, and return a future of what it returns or raises.

    Args:
        function: Function to call.
        name: Name of the thread.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = function()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
