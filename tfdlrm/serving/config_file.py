"""The model config file, which is read again while the server runs."""

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tfdlrm.base.errors import InputError
from tfdlrm.serving.daemon import start_daemon
from tfdlrm.serving.models import Models
from tfdlrm.serving.policies import ModelSettings, from_config
from tfdlrm.serving.text_protos import read_model_config

log = logging.getLogger("tfdlrm.serving")

CONFIG_WATCHER = "model config"
"""Name of the thread that reads the file."""


class ConfigFile:
    """A `--model_config_file` whose changes are served.

    Args:
        path: The file.
        models: The models that it describes.
        retry_seconds: Time after which a config that could not be served is tried
            again.
    """

    def __init__(self, path: Path, models: Models, retry_seconds: float) -> None:
        self._path, self._models = path, models
        self._retry_seconds = retry_seconds
        self._stop = threading.Event()
        self._refused: Sequence[ModelSettings] | None = None
        self._refused_at = 0.0
        self._reported = ""

    def watch(self, seconds: float) -> None:
        """Read the file from now on, in a thread.

        Args:
            seconds: Time between two looks.
        """

        def look() -> None:
            while not self._stop.wait(seconds):
                self.look()

        start_daemon(look, CONFIG_WATCHER)

    def look(self) -> None:
        """Read the file and serve what it describes; if broken, keep the models."""
        settings = None
        try:
            settings = from_config(read_model_config(self._path), self._path)
            if self._is_to_wait(settings):
                return
            self._models.reload(settings)
        except InputError as error:
            self._refused, self._refused_at = settings, time.monotonic()
            self._report(str(error))
        except Exception:  # the next look may succeed
            log.exception("reading %s again", self._path)
        else:
            self._refused, self._reported = None, ""

    def _is_to_wait(self, settings: Sequence[ModelSettings]) -> bool:
        is_soon = time.monotonic() < self._refused_at + self._retry_seconds
        return settings == self._refused and is_soon

    def _report(self, reason: str) -> None:
        if reason != self._reported:
            log.error("the models stay as they are: %s", reason)
            self._reported = reason

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
