"""The memory that a version takes, compared with what is free before it is loaded."""

import logging
import resource
import threading
from collections.abc import Callable
from pathlib import Path

import grpc
import tensorflow as tf

from tfdlrm.base.byte_size import format_byte_size
from tfdlrm.planning.machine_memory import available_memory
from tfdlrm.serving.errors import ServingError

log = logging.getLogger("tfdlrm.serving")

ASSET_FACTOR = 4
"""Vocabularies take at least as many times their bytes once they are hash tables.

Measured: 5.4 times for 3,000,000 texts of eight bytes, 8 and more for hashes.
"""


def bytes_of_version(path: Path) -> int:
    """Return the bytes that a version takes at least, by the sizes of its files.

    Args:
        path: Directory of a SavedModel, or of a version with `model.tflite` alone.
    """
    weights = sum(map(_size, path.glob("variables/*")))
    assets = sum(map(_size, path.glob("assets/*")))
    return weights + ASSET_FACTOR * assets or sum(map(_size, path.glob("*.tflite")))


class VersionMemory:
    """The memory of all versions of a server that are loaded.

    TensorFlow keeps the memory of unloaded versions for those after them, so it counts
    as free as long as the process has it.

    Args:
        free_bytes: Returns the bytes of this machine that a process can still have.
        resident_bytes: Returns the bytes that this process has.
    """

    def __init__(
        self,
        free_bytes: Callable[[], int] | None = None,
        resident_bytes: Callable[[], int] | None = None,
    ) -> None:
        self._free_bytes = free_bytes or available_memory
        self._resident_bytes = resident_bytes or _resident_bytes
        self._lock = threading.Lock()
        self._first_bytes: int | None = None
        self._loaded = 0
        self._most = 0

    def reserve(self, path: Path) -> int:
        """Report what a version takes, and refuse it if it cannot fit.

        Args:
            path: Its directory.

        Returns:
            Its bytes, for `release`.

        Raises:
            ServingError: RESOURCE_EXHAUSTED if it cannot fit.
        """
        if tf.config.list_logical_devices("GPU"):
            return 0  # its weights go there, and TensorFlow reports what does not fit
        num_bytes = bytes_of_version(path)
        with self._lock:
            if self._first_bytes is None:
                self._first_bytes = self._resident_bytes()
            free = max(0, self._free_bytes() + self._surplus_bytes())
            sizes = (
                f"{path} takes at least {format_byte_size(num_bytes)} of memory, and "
                f"{format_byte_size(free)} are free"
            )
            if num_bytes > free:
                raise ServingError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"{sizes}: expected room for it next to what is served; give the "
                    "machine more, serve fewer versions, export with --quantize int8, "
                    "or start the server again, which then needs memory for the new "
                    "version only",
                )
            log.info("loading: %s", sizes)
            self._loaded += num_bytes
            self._most = max(self._most, self._loaded)
        return num_bytes

    def release(self, num_bytes: int) -> None:
        """Count the memory of a version as free."""
        with self._lock:
            self._loaded -= num_bytes

    def _surplus_bytes(self) -> int:
        """Return the bytes that TensorFlow keeps of versions it has unloaded.

        They are negative if versions are still being loaded.
        """
        assert self._first_bytes is not None
        surplus = self._resident_bytes() - self._first_bytes - self._loaded
        return min(surplus, self._most - self._loaded)


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it is being removed
        return 0
