"""Trouble in reading an input, told in one line that names the file."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfdlrm.base.errors import InputError


class DamagedZstdError(Exception):
    """Compressed text breaks off, or is not what was compressed."""


@contextmanager
def reading(path: Path, expected: str = "a raw file") -> Iterator[None]:
    """Read something of a raw file, plain or compressed.

    Args:
        path: The file.
        expected: What it should be, in words.

    Raises:
        InputError: If the machine refuses, or a compressed file is damaged.
    """
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, DamagedZstdError) as error:
        compression = "zstd" if isinstance(error, DamagedZstdError) else "gzip"
        raise InputError(
            f"{path} is a damaged {compression} file ({error}): expected a whole one; "
            "fetch or compress it again"
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"{path} cannot be read: {reason}; expected {expected}"
        ) from None
