"""Report an input that cannot be read, in one line that names the file."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfdlrm.base.errors import InputError


class DamagedZstdError(Exception):
    """Compressed text is cut off or damaged."""


@contextmanager
def reading(path: Path, expected: str = "a raw file") -> Iterator[None]:
    """Turn errors while a raw file is read into one line.

    Args:
        path: Path of the file, plain or compressed.
        expected: A few words on the file that was expected.

    Raises:
        InputError: If the machine refuses to read, or a compressed file is damaged.
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
