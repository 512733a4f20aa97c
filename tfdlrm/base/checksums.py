"""Checksums of files, checked where these are read, and JSON that carries its own."""

import hashlib
import json
from pathlib import Path
from typing import Any

import google_crc32c

from tfdlrm.base.errors import InputError

_READ_BYTES = 2**20

SEAL = "sha256"
"""The entry of sealed JSON that holds the checksum of all others."""


def file_sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal, without holding it in memory.

    Raises:
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checked_bytes(path: Path, sha256: str | None) -> bytes:
    """Read a file of a data set.

    Args:
        path: The file.
        sha256: Its checksum by the schema, in hexadecimal; `None` if that has none.

    Raises:
        InputError: If the file is not what was written.
        OSError: If it cannot be read.
    """
    contents = path.read_bytes()
    found = hashlib.sha256(contents).hexdigest()
    if sha256 not in (None, found):
        raise InputError(
            f"{path} has the checksum {found}, expected {sha256} by the schema: the "
            "data set is damaged; remove it and prepare it again"
        )
    return contents


def file_crc32c(path: Path, num_bytes: int | None = None) -> int:
    """Return the CRC32C of a file, or of its first bytes.

    Raises:
        OSError: If it cannot be read.
    """
    left = path.stat().st_size if num_bytes is None else num_bytes
    crc = 0
    with path.open("rb") as file:
        while left and (contents := file.read(min(left, _READ_BYTES))):
            crc = google_crc32c.extend(crc, contents)
            left -= len(contents)
    return crc


def seal(value: dict[str, Any]) -> str:
    """Return `value` as JSON text that carries its own checksum, as its last entry.

    Example:

    >>> unseal(seal({"step": 120}))
    {'step': 120}
    """
    return json.dumps({**value, SEAL: _digest(value)})


def unseal(text: str) -> dict[str, Any]:
    """Parse JSON text and compare it with the checksum that it carries.

    Text without a checksum, as earlier releases wrote it, is taken as it is.

    Args:
        text: What `seal` returned.

    Returns:
        The value, without the checksum.

    Raises:
        ValueError: If it is not JSON of an object, or not what was sealed.
    """
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"it is a {type(value).__name__}, expected a JSON object")
    written = value.pop(SEAL, None)
    if written is not None and written != (found := _digest(value)):
        raise ValueError(f"its SHA-256 is {found}, expected {written}")
    return value


def _digest(value: dict[str, Any]) -> str:
    # Parsing and writing again gives the same text: floats are exact both ways.
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
