"""Files that an unfinished run keeps, each with a checksum."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c

from tfdlrm.base.checksums import file_crc32c
from tfdlrm.base.storage import sync, whole

GROWING_SUFFIX = ".rows"
"""Suffix of files that are appended to; one may be longer than was noted."""


class DamagedFileError(Exception):
    """A file of an unfinished run is not what was written; the message names it."""


@dataclass(frozen=True)
class KeptFile:
    """A file that an unfinished run has written and will read again.

    Args:
        path: The file.
        num_bytes: Its size.
        crc32c: Checksum of its contents.

    Example:

    >>> KeptFile(Path("nowhere.arrow"), 9, 1).problem()
    'is missing'
    """

    path: Path
    num_bytes: int
    crc32c: int

    def problem(self) -> str | None:
        """Return what is wrong with the file on the disk, in words, or `None`."""
        try:
            size = self.path.stat().st_size
            if size < self.num_bytes or (size > self.num_bytes and not self._grows):
                return f"has {size:,} bytes, expected {self.num_bytes:,}"
            crc32c = file_crc32c(self.path, self.num_bytes)
        except FileNotFoundError:
            return "is missing"
        except OSError as error:
            return f"cannot be read: {error.strerror or error}"
        return None if crc32c == self.crc32c else "has other contents than were written"

    def check(self) -> None:
        """Check the file on the disk.

        Raises:
            DamagedFileError: If it is not what was written.
        """
        if problem := self.problem():
            raise DamagedFileError(f"{self.path} {problem}")

    def read(self) -> bytes:
        """Read the file and check what was read.

        Raises:
            DamagedFileError: If it is not what was written.
        """
        try:
            with self.path.open("rb") as file:
                contents = file.read(self.num_bytes)
        except OSError as error:
            raise DamagedFileError(f"{self.path}: {error.strerror or error}") from None
        if google_crc32c.value(contents) != self.crc32c:
            raise DamagedFileError(f"{self.path} has other contents than were written")
        return contents

    @property
    def _grows(self) -> bool:
        return self.path.suffix == GROWING_SUFFIX


def keep(path: Path) -> KeptFile:
    """Wait until a file that was just written is on the disk, and describe it.

    `Journal.add` syncs the directory, once for many files.

    Raises:
        OSError: If the disk refuses.
    """
    sync(path)
    return KeptFile(path, path.stat().st_size, file_crc32c(path))


def write_note(path: Path, value: Any) -> None:
    """Write a value as JSON with a checksum, completely or not at all.

    Raises:
        OSError: If the disk refuses.
    """
    text = json.dumps(value)
    with whole(path) as temporary:
        temporary.write_text(f"{_crc_in_words(text)} {text}\n", encoding="utf-8")


def read_note(path: Path) -> Any:
    """Read what `write_note` wrote; `None` if it is missing or damaged."""
    try:
        checksum, _, text = path.read_text(encoding="utf-8")[:-1].partition(" ")
    except (OSError, ValueError):
        return None
    return json.loads(text) if checksum == _crc_in_words(text) else None


def _crc_in_words(text: str) -> str:
    return str(google_crc32c.value(text.encode()))
