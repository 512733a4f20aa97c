"""Signals that ask a training run to stop, held until it can stop in good order."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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

    A second one ends the program at once.

    Yields:
        The request, which shows whether a signal came.
    """
    request = StopRequest()
    handlers = {number: signal.getsignal(number) for number in SIGNALS}

    def hold(received: int, frame: FrameType | None) -> None:
        request.signal = signal.Signals(received)
        for number, handler in handlers.items():
            signal.signal(number, handler)

    for number in SIGNALS:
        signal.signal(number, hold)
    try:
        yield request
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
