"""Whether an input is still what it was: by size, time and checksum."""

import hashlib
from pathlib import Path
from typing import BinaryIO

from pipelines.logs.damage import reading
from tfdlrm.base.errors import InputError

_READ_BYTES = 2**20


class InputChangedError(Exception):
    """What an unfinished run has read of an input is not what is there now."""


class FileChecksum:
    """The SHA-256 of a file, computed as far as is asked for.

    Args:
        path: The file.

    Raises:
        InputError: If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._before = identity(path)
        with reading(path):
            self._file: BinaryIO = path.open("rb")
            self._size = path.stat().st_size
        self._offset = 0
        self._hash = hashlib.sha256()

    def up_to(self, offset: int) -> str:
        """The checksum of the bytes before `offset`, or before an earlier end.

        Args:
            offset: At least what it was in the call before.
        """
        while self._offset < offset:
            with reading(self.path):
                piece = self._file.read(min(_READ_BYTES, offset - self._offset))
            if not piece:
                break
            self._hash.update(piece)
            self._offset += len(piece)
        return self._hash.hexdigest()

    def whole(self) -> str:
        """The checksum of the whole file.

        Raises:
            InputError: If the file was changed since this object was made, or cannot
                be read.
        """
        digest = self.up_to(self._size)
        require_unchanged(self.path, self._before)
        return digest

    def __enter__(self) -> "FileChecksum":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def file_checksum(path: Path) -> str:
    """The SHA-256 of an input, in hexadecimal."""
    with FileChecksum(path) as checksum:
        return checksum.whole()


def identity(path: Path) -> tuple[int, ...]:
    """What is another when a file is replaced or written to.

    Raises:
        InputError: If it is not there.
    """
    with reading(path):
        stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def require_unchanged(path: Path, before: tuple[int, ...]) -> None:
    """Refuse a file that is being written to.

    Args:
        path: The file.
        before: Its `identity` before it was read.

    Raises:
        InputError: If it is another now.
    """
    if identity(path) != before:
        raise InputError(
            f"{path} changed while it was read, expected a file that nobody writes to: "
            "prepare it again when it is complete"
        )
