"""Check that an input has not changed, by its size, time and checksum."""

import hashlib
from pathlib import Path
from typing import BinaryIO

from pipelines.logs.damage import reading
from tfdlrm.base.errors import InputError

_READ_BYTES = 2**20


class InputChangedError(Exception):
    """An input differs from what an unfinished run has read of it."""


class FileChecksum:
    """The SHA-256 of a file, computed no further than it is needed.

    Raises:
        InputError: If the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._identity = identity(path)
        with reading(path):
            self._file: BinaryIO = path.open("rb")
            self._size = path.stat().st_size
        self._offset = 0
        self._hash = hashlib.sha256()

    def up_to(self, offset: int) -> str:
        """Return the checksum of the bytes before `offset`, or of the whole file.

        Args:
            offset: No smaller than in the call before.
        """
        while self._offset < offset:
            with reading(self.path):
                contents = self._file.read(min(_READ_BYTES, offset - self._offset))
            if not contents:
                break
            self._hash.update(contents)
            self._offset += len(contents)
        return self._hash.hexdigest()

    def whole(self) -> str:
        """Return the checksum of the whole file.

        Raises:
            InputError: If the file has changed since this object was created, or
                cannot be read.
        """
        digest = self.up_to(self._size)
        require_unchanged(self.path, self._identity)
        return digest

    def __enter__(self) -> "FileChecksum":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def file_checksum(path: Path) -> str:
    """Return the SHA-256 of an input, in hexadecimal."""
    with FileChecksum(path) as checksum:
        return checksum.whole()


def identity(path: Path) -> tuple[int, ...]:
    """Return a value that changes when a file is replaced or written to.

    Raises:
        InputError: If the file does not exist.
    """
    with reading(path):
        stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def require_unchanged(path: Path, identity_before: tuple[int, ...]) -> None:
    """Refuse a file that is being written to.

    Args:
        path: Path of the file.
        identity_before: The file's `identity` before it was read.

    Raises:
        InputError: If the file has another identity now.
    """
    if identity(path) != identity_before:
        raise InputError(
            f"{path} changed while it was read, expected a file that nobody writes to: "
            "prepare it again when it is complete"
        )
