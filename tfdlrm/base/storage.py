"""Paths on an object store or a web server, by way of tensorflow-io.

`at` gives `s3://bucket/clicks` or `http://host/day_0.gz` the methods of `pathlib.Path`
that this project calls. A local path stays pathlib's own, and tensorflow-io is imported
for nothing else.
"""

import errno
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any

import orjson

from tfdlrm.base.errors import InputError, require
from tfdlrm.base.remote_path import REMOTE_SCHEMES, RemotePath


def at(path: Path | str) -> Path:
    """`path`, as a `RemotePath` if it names an object store or a web server.

    Example:

    >>> str(at("s3://bucket/clicks") / "schema.json")
    's3://bucket/clicks/schema.json'
    >>> at("data/clicks")
    PosixPath('data/clicks')
    """
    if isinstance(path, RemotePath):
        return path
    parts = PurePath(path).parts
    if parts and parts[0] in REMOTE_SCHEMES:
        # It has the methods of a Path that are called here, and no others.
        return RemotePath(path)  # type: ignore[return-value]
    return Path(path)


def is_remote(path: Path) -> bool:
    """Whether `at` has made a remote path of it."""
    return isinstance(path, RemotePath)


def require_local(name: str, path: Path) -> None:
    """Refuse a remote path where a file of this machine is needed.

    Args:
        name: The setting.
        path: Its value.

    Raises:
        InputError: If it is remote.
    """
    require(not is_remote(path), name, path, "a path on this machine")


def make_directory(name: str, path: Path) -> None:
    """Make a directory, if it is not there.

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
    """Make a directory and those above it that are missing, their names on the disk.

    Raises:
        OSError: If the disk refuses.
    """
    if is_remote(path):
        return  # one is there as soon as there is a file below it
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync(made.parent)


@contextmanager
def only_process(directory: Path, in_use: str | None = None) -> Iterator[None]:
    """Keep other processes of this machine out of a local directory.

    Args:
        directory: The directory; a remote one is not guarded.
        in_use: What to say where another process holds it; `None` waits for that.

    Raises:
        InputError: If another process holds it.
    """
    if is_remote(directory):
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


@contextmanager
def whole(target: Path, suffix: str = "") -> Iterator[Path]:
    """Yield a temporary path, and rename it to `target` if all goes well.

    The path is a new one each time, so that two processes, of which one may be left
    over from a run that was killed, do not write into the same file.

    A link stays, and the file that it leads to is replaced. A device or a pipe is
    written to as it is.

    Args:
        target: The file.
        suffix: Ending of the temporary name, where a library demands one.

    Yields:
        A path next to `target`.
    """
    if not is_remote(target):
        if target.exists() and not (target.is_file() or target.is_dir()):
            yield target
            return
        target = _end_of_links(target)
    name = f".{target.name}.{secrets.token_hex(4)}.partial{suffix}"
    temporary = target.with_name(name)
    try:
        yield temporary
        rename(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def remove_remains(directory: Path) -> None:
    """Remove the temporary files of `whole` that killed processes have left."""
    for path in directory.rglob(".*.partial"):
        path.unlink(missing_ok=True)


def _end_of_links(path: Path) -> Path:
    if not path.is_symlink():
        return path
    end = Path(os.path.realpath(path))
    if end.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return end


def rename(source: Path, target: Path) -> None:
    """Give a file or directory its final name once its contents are on the disk.

    Without the first sync a power cut may leave the name on an empty file; without the
    second it may take back a name that a later file already speaks of.

    Args:
        source: The file or directory that was written.
        target: Its final name, in the same directory.

    Raises:
        OSError: If the disk refuses.
    """
    if not is_remote(target):
        sync_tree(source)
    source.replace(target)
    if not is_remote(target):
        sync(target.parent)


def sync_tree(path: Path) -> None:
    """Wait until a local file, or a directory and everything in it, is on the disk.

    Raises:
        OSError: If the disk refuses.
    """
    if path.is_dir() and not path.is_symlink():
        for entry in path.iterdir():
            sync_tree(entry)
    if not path.is_symlink():
        sync(path)


def sync(path: Path) -> None:
    """Wait until a local file, or the list of names in a directory, is on the disk.

    Some network file systems sync no directories; there it is left to them.

    Raises:
        OSError: If the disk refuses.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def replace_text(path: Path, text: str) -> None:
    """Write a file aside, and then in the place of what was there.

    Raises:
        OSError: If the disk refuses.
    """
    with whole(path) as aside:
        aside.write_text(text, encoding="utf-8")


def replace_json(path: Path, value: Any) -> None:
    """Write a value as JSON, as `replace_text` does; what is no number is null.

    Raises:
        OSError: If the disk refuses.
    """
    replace_text(path, as_json(value).decode())


def as_json(value: Any) -> bytes:
    """Return a value as indented JSON with a line end; what is no number is null."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"


def copy_tree(source: Path, target: Path, last: str | None = None) -> None:
    """Copy the files below `source`, from or to a remote place or not.

    Args:
        source: A directory.
        target: A directory, made where there is none.
        last: Name of the file in `source` that tells that the copy is whole.

    Raises:
        OSError: If a file cannot be read or written.
    """
    names = sorted(files_below(source), key=lambda name: str(name) == last)
    for name in names:
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        with (source / name).open("rb") as read, copy.open("wb") as written:
            shutil.copyfileobj(read, written, 2**22)


def files_below(directory: Path) -> list[PurePath]:
    files = []
    for entry in directory.iterdir():
        if entry.is_dir():
            files += [entry.name / name for name in files_below(entry)]
        else:
            files.append(PurePath(entry.name))
    return files


def remove_tree(directory: Path) -> None:
    """Remove a directory and all in it, if it is there."""
    if isinstance(directory, RemotePath):
        directory.remove_tree()
    else:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def new_directory(target: Path, last: str) -> Iterator[Path]:
    """Give a local path for what then becomes the directory `target`, or nothing.

    Args:
        target: The directory; one that is there already is replaced.
        last: Name of the file that comes last where a directory cannot be renamed: on
            an object store one without it is not whole.
    """
    if is_remote(target):
        with tempfile.TemporaryDirectory(prefix="tfdlrm-") as folder:
            aside = Path(folder) / target.name
            yield aside
            remove_tree(target)
            try:
                copy_tree(aside, target, last)
            except BaseException:
                with suppress(OSError):  # what broke the upload off is told
                    remove_tree(target)
                raise
        return
    aside = target.with_name(f".{target.name}.partial")
    remove_tree(aside)
    try:
        yield aside
        sync_tree(aside)  # before the old one goes
        remove_tree(target)
        aside.replace(target)
        sync(target.parent)
    finally:
        remove_tree(aside)
