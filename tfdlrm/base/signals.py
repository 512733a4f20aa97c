"""Signals that ask a training run to stop, held until it can stop in good order."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)

# Seconds in which one request may send its signal more than once: `timeout` signals the
# process and its group, and Linux a child once for each thread of a killed parent.
ONE_REQUEST = 1.0


def repeats(first_time: float) -> bool:
    """Return whether a signal that comes now repeats a request of that time."""
    return time.monotonic() - first_time <= ONE_REQUEST


class StopRequest:
    """The signal that asked this process to stop, if one came."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def leave(self) -> None:
        """End the program as the signal would have done.

        Raises:
            KeyboardInterrupt: For an interrupt.
            SystemExit: For a request to terminate, with the status of a shell.
        """
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + int(self.signal or 0))


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Hold the first interrupt or request to terminate.

    A second one ends the program at once, unless it comes so soon after the first that
    it repeats the same request.

    Yields:
        The request, which shows whether a signal came.
    """
    request = StopRequest()
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    first_time: float | None = None

    def hold(received: int, frame: FrameType | None) -> None:
        nonlocal first_time
        if first_time is None:
            first_time = time.monotonic()
            request.signal = signal.Signals(received)
        elif not repeats(first_time):
            restore()
            signal.raise_signal(received)

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    for number in SIGNALS:
        signal.signal(number, hold)
    try:
        yield request
    finally:
        restore()


@contextmanager
def terminate_is_exit() -> Iterator[None]:
    """Let a request to terminate end this process the way an interrupt does."""
    first_time: float | None = None

    def leave(number: int, frame: FrameType | None) -> None:
        nonlocal first_time
        if first_time is not None and repeats(first_time):
            return
        first_time = time.monotonic()
        raise SystemExit(128 + number)

    old_handler = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old_handler)
