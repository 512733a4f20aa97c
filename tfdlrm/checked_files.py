"""Files of a data set are checked against their checksums where they are read."""

import hashlib
from pathlib import Path

import google_crc32c

from tfdlrm.errors import InputError

_READ_BYTES = 2**22


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
