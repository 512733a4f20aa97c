"""Signals that ask a training run to stop, kept until it can do so in good order."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether a signal has come, and which one."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def leave(self) -> None:
        """End the program as the signal would have.

        Raises:
            KeyboardInterrupt: For an interrupt.
            SystemExit: For a request to terminate, with the status of a shell.
        """
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + int(self.signal or 0))


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Take note of the first interrupt or request to terminate.

    A second one ends the program at once.

    Yields:
        What came so far.
    """
    request = StopRequest()
    before = {each: signal.getsignal(each) for each in SIGNALS}

    def take_note(number: int, frame: FrameType | None) -> None:
        request.signal = signal.Signals(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    for each in SIGNALS:
        signal.signal(each, take_note)
    try:
        yield request
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
