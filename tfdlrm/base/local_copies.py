"""Local copies of remote files, and names of files that TensorFlow takes literally."""

import atexit
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tfdlrm.base import directories, storage


@contextmanager
def mirrored(
    directory: Path, leave_out: str, last: str | None = None
) -> Iterator[Path]:
    """Yield a local copy of a remote directory, and copy it back at the end.

    Args:
        directory: The remote directory; it need not exist.
        leave_out: Name of an entry that is not copied.
        last: Name of the file that shows that all others are there.
    """
    with tempfile.TemporaryDirectory(prefix="tfdlrm-") as folder:
        local = Path(folder)
        for entry in directory.iterdir() if directory.is_dir() else ():
            if entry.name != leave_out:
                _download(entry, local / entry.name)
        names = set(directories.files_below(local))
        try:
            yield local
        finally:
            directories.copy_tree(local, directory, last)
            for name in names.difference(directories.files_below(local)):
                (directory / name).unlink()


@cache
def local_copy(path: Path) -> Path:
    """Return a local path itself, or a copy of a remote file until the process ends."""
    if not storage.is_remote(path):
        return path
    copy = Path(tempfile.mkdtemp(prefix="tfdlrm-")) / path.name
    atexit.register(directories.remove_tree, copy.parent)
    _download(path, copy)
    return copy


@contextmanager
def literal(path: Path) -> Iterator[Path]:
    """Yield a name of a path that TensorFlow does not read as a glob pattern.

    TensorFlow takes the name of the index of a checkpoint, also in a SavedModel, for a
    pattern: below a folder `m[1]` it finds none. Once loaded, the name is not needed.

    Args:
        path: A directory, or the prefix of a checkpoint's files in one.
    """
    if not _PATTERN.intersection(str(path)):
        yield path
        return
    directory = path if path.is_dir() else path.parent
    with tempfile.TemporaryDirectory(prefix="tfdlrm-") as folder:
        link = Path(folder) / "folder"
        link.symlink_to(local_copy(directory).resolve(), target_is_directory=True)
        yield link if directory == path else link / path.name


_PATTERN = frozenset("*?[\\")


def _download(path: Path, copy: Path) -> None:
    if path.is_dir():
        directories.copy_tree(path, copy)
    else:
        copy.write_bytes(path.read_bytes())
