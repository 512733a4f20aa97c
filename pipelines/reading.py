"""Trouble in reading an input, told in one line that names the file."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfdlrm.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"
"""What a gzip file begins with."""


@contextmanager
def reading(path: Path, expected: str = "a raw file") -> Iterator[None]:
    """Read something of a raw file, plain or gzip.

    Args:
        path: The file.
        expected: What it should be, in words.

    Raises:
        InputError: If the machine refuses, or the file is damaged gzip.
    """
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path} is a damaged gzip file ({error}): expected a whole one; "
            "fetch or compress it again"
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"{path} cannot be read: {reason}; expected {expected}"
        ) from None
