"""Directories that are made, guarded, copied, removed and replaced as wholes."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.base.remote_path import RemotePath


def make_directory(name: str, path: Path) -> None:
    """Make a directory unless it exists.

    Args:
        name: The setting that names it.
        path: The directory.

    Raises:
        InputError: If it cannot be made.
    """
    try:
        make_directories(path)
    except OSError as error:
        raise InputError(
            f"{name} {path} cannot be made: {error.strerror}; give another one"
        ) from None


def make_directories(path: Path) -> None:
    """Make a directory and its missing parents, and wait until they are on the disk.

    Raises:
        OSError: If the disk refuses.
    """
    if storage.is_remote(path):
        return  # a remote directory exists as soon as a file below it does
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        storage.sync(folder.parent)


@contextmanager
def only_process(directory: Path, in_use: str | None = None) -> Iterator[None]:
    """Keep other processes of this machine out of a local directory.

    Args:
        directory: The directory; a remote one is not guarded.
        in_use: The message if another process holds it; `None` waits for that process.

    Raises:
        InputError: If another process holds it.
    """
    if storage.is_remote(directory):
        yield
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        _lock(descriptor, in_use)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, in_use: str | None) -> None:
    if in_use is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(in_use) from None


def copy_tree(source: Path, target: Path, last: str | None = None) -> None:
    """Copy the files below `source`; both directories may be local or remote.

    Args:
        source: A directory.
        target: A directory; it need not exist.
        last: Name of the file in `source` that shows that the copy is whole.

    Raises:
        OSError: If a file cannot be read or written.
    """
    names = sorted(files_below(source), key=lambda name: str(name) == last)
    for name in names:
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        with (source / name).open("rb") as reader, copy.open("wb") as writer:
            shutil.copyfileobj(reader, writer, 2**22)


def files_below(directory: Path) -> list[PurePath]:
    """Return the paths of all files below a directory, relative to it."""
    files = []
    for entry in directory.iterdir():
        if entry.is_dir():
            files += [entry.name / name for name in files_below(entry)]
        else:
            files.append(PurePath(entry.name))
    return files


def remove_tree(directory: Path) -> None:
    """Remove a directory and everything in it, if it exists."""
    if isinstance(directory, RemotePath):
        directory.remove_tree()
    else:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def new_directory(target: Path, last: str) -> Iterator[Path]:
    """Yield a temporary path for a directory that becomes `target` if all goes well.

    Args:
        target: The directory; an existing one is replaced.
        last: Name of the file that is written last where a directory cannot be renamed:
            on an object store a directory without it is not whole.
    """
    if storage.is_remote(target):
        with tempfile.TemporaryDirectory(prefix="tfdlrm-") as folder:
            local = Path(folder) / target.name
            yield local
            remove_tree(target)
            try:
                copy_tree(local, target, last)
            except BaseException:
                with suppress(OSError):  # the error of the upload is reported
                    remove_tree(target)
                raise
        return
    temporary = target.with_name(f".{target.name}.partial")
    remove_tree(temporary)
    try:
        yield temporary
        storage.sync_tree(temporary)  # before the old one goes
        remove_tree(target)
        temporary.replace(target)
        storage.sync(target.parent)
    finally:
        remove_tree(temporary)
