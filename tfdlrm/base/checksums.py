"""Checksums of files, checked where these are read, and JSON that carries its own."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c

from tfdlrm.base.errors import InputError

_READ_BYTES = 2**20


@dataclass(frozen=True)
class Seal:
    """How JSON carries its own checksum.

    Args:
        entry: Name of the entry that holds the SHA-256 of all others.
        sort_keys: Whether the checksum is that of JSON with sorted keys and no blanks,
            so that the order of entries does not matter.
        indent: Blanks before an entry; `None` writes everything in one line.
    """

    entry: str
    sort_keys: bool = False
    indent: int | None = None


LINE_SEAL = Seal("sha256")
"""For files that programs read: states, settings, summaries, manifests."""

PAGE_SEAL = Seal("checksum", sort_keys=True, indent=2)
"""For files that people read too: the schema of a data set."""


class BrokenSealError(ValueError):
    """JSON is not what was sealed."""


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
    actual = hashlib.sha256(contents).hexdigest()
    if sha256 not in (None, actual):
        raise InputError(
            f"{path} has the checksum {actual}, expected {sha256} by the schema: the "
            "data set is damaged; remove it and prepare it again"
        )
    return contents


def file_crc32c(path: Path, num_bytes: int | None = None) -> int:
    """Return the CRC32C of a file, or of its first bytes.

    Raises:
        OSError: If it cannot be read.
    """
    bytes_left = path.stat().st_size if num_bytes is None else num_bytes
    crc = 0
    with path.open("rb") as file:
        while bytes_left and (contents := file.read(min(bytes_left, _READ_BYTES))):
            crc = google_crc32c.extend(crc, contents)
            bytes_left -= len(contents)
    return crc


def seal(value: dict[str, Any], style: Seal = LINE_SEAL) -> str:
    """Return `value` as JSON text that carries its own checksum, as its last entry.

    Example:

    >>> unseal(seal({"step": 120}))
    {'step': 120}
    """
    sealed = {**value, style.entry: _digest(value, style)}
    return json.dumps(sealed, indent=style.indent)


def unseal(text: str, style: Seal = LINE_SEAL) -> dict[str, Any]:
    """Parse JSON text and compare it with the checksum that it carries.

    Text without a checksum, as earlier releases wrote it, is taken as it is.

    Args:
        text: What `seal` returned.
        style: How it was sealed.

    Returns:
        The value, without the checksum.

    Raises:
        ValueError: If it is not JSON of an object, or not what was sealed.
    """
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"it is a {type(value).__name__}, expected a JSON object")
    check_seal(value, style)
    value.pop(style.entry, None)
    return value


def check_seal(value: dict[str, Any], style: Seal = LINE_SEAL) -> None:
    """Compare parsed JSON with the checksum that it carries, if it does.

    Raises:
        BrokenSealError: If it is not what was sealed.
    """
    contents = {name: entry for name, entry in value.items() if name != style.entry}
    expected = value.get(style.entry)
    if expected is not None and expected != (digest := _digest(contents, style)):
        raise BrokenSealError(f"its SHA-256 is {digest}, expected {expected}")


def sorted_sha256(value: Any) -> str:
    """Return the SHA-256 of a value as JSON, whatever the order of its entries.

    Example:

    >>> sorted_sha256({"a": 1, "b": 2}) == sorted_sha256({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(value: dict[str, Any], style: Seal) -> str:
    if style.sort_keys:
        return sorted_sha256(value)
    # Parsing and writing again returns the same text: floats are exact both ways.
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
