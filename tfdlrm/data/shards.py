"""The files that hold the rows of a data set."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError


@dataclass(frozen=True)
class Shard:
    """One file of a data set.

    Args:
        path: Path relative to the data set directory.
        rows: Number of rows in the file.
        bytes: Size of the file.
        sha256: SHA-256 of the file, in hexadecimal.
        crc32c: CRC32C of the file, which takes little time to compute; data sets of
            earlier versions have none.
    """

    path: str
    rows: int
    bytes: int
    sha256: str
    crc32c: int | None = None


def check_sizes(directory: Path, shards: Iterable[Shard]) -> list[Path]:
    """Check that shards have the sizes with which they were written.

    Args:
        directory: The data set directory.
        shards: The shards to check.

    Returns:
        The paths of the shards.

    Raises:
        InputError: If a shard is missing, cannot be read, or has another size.
    """
    directory = storage.at(directory)
    paths = []
    for shard in shards:
        path = directory / shard.path
        try:
            size = path.stat().st_size if path.is_file() else None
            if size is not None and not storage.is_remote(path):
                path.open("rb").close()  # raises if we may not read it
        except OSError as error:
            raise unreadable_shard(path, error) from None
        if size != shard.bytes:
            problem = "is missing" if size is None else f"has {size:,} bytes"
            raise InputError(
                f"{path} {problem}, expected {shard.bytes:,} bytes: the data set is "
                "damaged; remove it and prepare it again"
            )
        paths.append(path)
    return paths


def unreadable_shard(path: Path, error: OSError) -> InputError:
    """Return the error of a shard that the machine does not let us read."""
    return InputError(
        f"{path} cannot be read: {error.strerror or error}; expected a shard of the "
        "data set: see who may read it, and the disk"
    )
