"""A sampled share of requests and answers, logged without slowing an answer down."""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from tfdlrm.serving.daemon import start_daemon
from tfdlrm.serving.log_files import LogFiles
from tfdlrm.serving.log_settings import RequestLogging
from tfdlrm.serving.logged_requests import Call, LoggedRequest
from tfdlrm.serving.metrics import Metrics

log = logging.getLogger("tfdlrm.serving")

WRITE_SECONDS = 0.2
"""Time between two writes. Waking a thread for each request would cost more."""

MOST_WAITING_BYTES = 2**26
"""Most memory of requests that wait to be written; more are dropped and counted."""

_CLOSING_SECONDS = 10.0
"""Longest time that a server which stops waits for a slow disk."""

_WARNING_SECONDS = 60.0
"""Shortest time between two lines about a disk that refuses."""


class RequestLog:
    """The logs of all models, which a thread writes.

    Args:
        settings_of: Returns what to log of a model; `None` for nothing.
        metrics: Counters of logged and dropped requests.
        max_bytes: Most bytes of each model's files.
    """

    def __init__(
        self,
        settings_of: Callable[[str], RequestLogging | None],
        metrics: Metrics,
        max_bytes: int,
    ) -> None:
        self._settings_of = settings_of
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[str, LoggedRequest]] = deque()
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._files: dict[tuple[str, str], LogFiles] = {}
        self._stop = threading.Event()
        self._writing: Future[None] | None = None
        self._warned_at = -_WARNING_SECONDS

    def draw(self, model: str) -> RequestLogging | None:
        """Return how to log a request, if chance has it; else `None`.

        Args:
            model: Name of the model that answered it.
        """
        settings = self._settings_of(model)
        if settings is None or random.random() >= settings.rate:
            return None
        return settings

    def add(
        self, settings: RequestLogging, calls: Sequence[Call], is_multi: bool = False
    ) -> None:
        """Keep a request for the log; it is dropped and counted if too many wait.

        Args:
            settings: Where it goes.
            calls: The signatures that were run for it.
            is_multi: Whether it was a `MultiInference`.
        """
        request = LoggedRequest(calls, settings.rate, int(time.time()), is_multi)
        num_bytes = request.num_bytes
        with self._lock:
            is_full = self._waiting_bytes + num_bytes > MOST_WAITING_BYTES
            if not is_full:
                self._waiting_bytes += num_bytes
        if is_full:
            self._metrics.count_unlogged(request.model, "queue")
            return
        self._waiting.append((settings.prefix, request))
        if self._writing is None:
            self._writing = start_daemon(self._write_until_stopped, "request log")

    def close(self) -> None:
        """Write what waits, and finish all files, unless the disk takes too long."""
        self._stop.set()
        if self._writing is None:
            return
        try:
            self._writing.result(timeout=_CLOSING_SECONDS)
        except TimeoutError:
            log.warning("%d requests are not logged", len(self._waiting))

    def _write_until_stopped(self) -> None:
        while not self._stop.wait(WRITE_SECONDS):
            try:
                self._write()
            except Exception:  # the next requests may be written
                log.exception("writing the request log")
        self._write()
        for files in self._files.values():
            self._try_on_disk(files.close)

    def _write(self) -> None:
        """Write what waits, and finish the files that are old or no longer wanted."""
        for _ in range(len(self._waiting)):
            self._write_request(*self._waiting.popleft())
        for (prefix, model), files in list(self._files.items()):
            settings = self._settings_of(model)
            if settings is not None and settings.prefix == prefix:
                self._try_on_disk(files.close_old)
            else:
                self._try_on_disk(self._files.pop((prefix, model)).close)

    def _write_request(self, prefix: str, request: LoggedRequest) -> None:
        model = request.model
        with self._lock:
            self._waiting_bytes -= request.num_bytes
        files = self._files.get((prefix, model))
        if files is None:
            files = LogFiles(prefix, model, self._max_bytes)
            self._files[prefix, model] = files
        payload = request.to_bytes()
        if self._try_on_disk(lambda: files.write(payload)):
            self._metrics.count_logged(model)
        else:
            self._metrics.count_unlogged(model, "disk")

    def _try_on_disk(self, action: Callable[[], None]) -> bool:
        """Do something on the disk, and return whether it did not refuse."""
        try:
            action()
        except OSError as error:
            now = time.monotonic()
            if now >= self._warned_at + _WARNING_SECONDS:
                self._warned_at = now
                log.warning(
                    "requests are not logged: %s; :tfdlrm:serving:unlogged_requests "
                    "counts them",
                    error,
                )
            return False
        return True
