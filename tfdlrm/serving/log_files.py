"""The files of a request log: TFRecords, rotated, of bounded size in all."""

import errno
import fcntl
import os
import re
import time
from contextlib import suppress
from io import FileIO
from pathlib import Path

from tfdlrm.base.errors import InputError
from tfdlrm.data.records import (
    FOOTER_BYTES,
    HEADER_BYTES,
    read_records,
    record_footer,
    record_header,
)

MOST_FILES = 16
"""A full log has about as many files, of which the oldest makes room for a new one."""

FILE_SECONDS = 3600.0
"""Age at which a file is finished, so that others can read what it has."""

_OPEN = ".open"
"""End of the name of a file that is being written."""


class LogFiles:
    """The files of one model's log; `write` and `close` are called by one thread.

    A file ends with `.tfrecord` once it is finished, and with `.tfrecord.open` before.
    What a killed server left open is finished by the next one with the same prefix.

    Args:
        prefix: What the path of each file begins with; a directory if it ends with `/`.
        model: Name of the model.
        max_bytes: Most bytes of all files, about; the oldest are removed.
    """

    def __init__(self, prefix: str, model: str, max_bytes: int) -> None:
        is_directory = prefix.endswith("/") or Path(prefix).is_dir()
        path = Path(prefix)
        self._directory = path if is_directory else path.parent
        self._stem = model if is_directory else f"{path.name}.{model}"
        self._max_bytes = max_bytes
        self._file: FileIO | None = None
        self._path = Path()
        self._num_bytes = 0
        self._begin = 0.0
        self._number = 0
        self._is_new = True

    def write(self, payload: bytes) -> None:
        """Append a record.

        Raises:
            OSError: If the disk refuses; the records written before are kept.
        """
        if self._is_new:
            self._finish_left()
            self._is_new = False
        if self._file is None:
            self._open()
        assert self._file is not None
        record = record_header(len(payload)) + payload + record_footer(payload)
        try:
            if self._file.write(record) < len(record):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        except OSError:
            self.close()
            raise
        self._num_bytes += len(record)
        if self._num_bytes >= self._max_bytes // MOST_FILES:
            self.close()

    def close_old(self) -> None:
        """Finish the open file if it is old."""
        if time.monotonic() - self._begin >= FILE_SECONDS:
            self.close()

    def close(self) -> None:
        """Finish the open file, and remove the oldest ones if they are too many.

        Raises:
            OSError: If the disk refuses.
        """
        file, self._file = self._file, None
        if file is None:
            return
        with file:
            file.truncate(self._num_bytes)  # whole records, where the disk was full
            self._finish(self._path, self._num_bytes)
        self._remove_oldest()

    def _finish(self, path: Path, num_bytes: int) -> None:
        """Give a file its final name; remove it if it has no record."""
        if num_bytes:
            path.rename(path.with_suffix(""))
        else:
            path.unlink()

    def _open(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        while True:
            name = f"{self._stem}.{moment}-{os.getpid()}-{self._number:05d}.tfrecord"
            self._number += 1
            self._path = self._directory / f"{name}{_OPEN}"
            if (self._directory / name).exists():
                continue
            with suppress(FileExistsError):
                self._file = self._path.open("xb", buffering=0)
                break
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._num_bytes, self._begin = 0, time.monotonic()

    def _files(self, end: str = "") -> list[Path]:
        """Return the files of this log, the oldest first."""
        pattern = re.compile(
            rf"{re.escape(self._stem)}\.\d{{8}}T\d{{6}}Z-\d+-\d{{5,}}\.tfrecord"
            + re.escape(end)
        )
        if not self._directory.is_dir():
            return []
        return sorted(
            path for path in self._directory.iterdir() if pattern.fullmatch(path.name)
        )

    def _remove_oldest(self) -> None:
        files = self._files()
        sizes = [path.stat().st_size for path in files]
        while sum(sizes) > self._max_bytes and len(files) > 1:
            files.pop(0).unlink(missing_ok=True)
            sizes.pop(0)

    def _finish_left(self) -> None:
        """Finish the files of servers that were killed."""
        for path in self._files(_OPEN):
            with suppress(OSError), path.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # else it is in use
                num_bytes = _bytes_of_whole_records(path)
                file.truncate(num_bytes)
                self._finish(path, num_bytes)


def _bytes_of_whole_records(path: Path) -> int:
    """Return the size of a file without a last record that is not whole."""
    num_bytes = 0
    with suppress(InputError):
        for _, payload in read_records(path):
            num_bytes += HEADER_BYTES + len(payload) + FOOTER_BYTES
    return num_bytes
