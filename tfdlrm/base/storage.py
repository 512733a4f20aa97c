"""Local and remote paths, and files that are complete or absent.

`at` gives `s3://bucket/clicks` or `http://host/day_0.gz` the methods of `pathlib.Path`
that this project calls. A local path stays pathlib's own; tensorflow-io is imported for
remote paths alone.
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
    """Return `path`, as a `RemotePath` if it is on an object store or a web server.

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
        # It has those methods of a Path that are called here.
        return RemotePath(path)  # type: ignore[return-value]
    return Path(path)


def is_remote(path: Path) -> bool:
    """Whether a path is remote, as `at` returns it."""
    return isinstance(path, RemotePath)


def require_local(name: str, path: Path) -> None:
    """Refuse a remote path for a setting that needs a local file.

    Args:
        name: The setting.
        path: Its value.

    Raises:
        InputError: If it is remote.
    """
    require(not is_remote(path), name, path, "a path on this machine")


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
    if is_remote(path):
        return  # a remote directory exists as soon as a file below it does
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync(folder.parent)


@contextmanager
def only_process(directory: Path, in_use: str | None = None) -> Iterator[None]:
    """Keep other processes of this machine out of a local directory.

    Args:
        directory: The directory; a remote one is not guarded.
        in_use: The message if another process holds it; `None` waits for that process.

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
    """Yield a temporary path to write to, which replaces `target` if all goes well.

    The path is new each time, so that two processes, one of which may be left over from
    a run that was killed, never write to the same file.

    A link stays, and the file that it leads to is replaced. A device or a pipe is
    written to as it is.

    Args:
        target: The file.
        suffix: An ending of the temporary name, for a writer that demands it.

    Yields:
        A path in the same directory.
    """
    if not is_remote(target):
        if target.exists() and not (target.is_file() or target.is_dir()):
            yield target
            return
        target = _end_of_links(target)
    temporary = target.with_name(
        f".{target.name}.{secrets.token_hex(4)}.partial{suffix}"
    )
    try:
        yield temporary
        rename(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporary_files(directory: Path, below: bool = True) -> None:
    """Remove the files that killed processes left in `whole`.

    Args:
        directory: A local directory.
        below: Whether to remove those in its subdirectories too.
    """
    for pattern in (".*.partial", ".*.partial.*"):
        for path in directory.rglob(pattern) if below else directory.glob(pattern):
            if not path.is_dir():
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
    second it may undo a rename although a later file already refers to the new name.

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

    Some network file systems cannot sync directories; there it is left to them.

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
    """Write a temporary file, and then replace the file with it.

    Raises:
        OSError: If the disk refuses.
    """
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def replace_json(path: Path, value: Any) -> None:
    """Write a value as JSON, as `replace_text` does; NaN becomes null.

    Raises:
        OSError: If the disk refuses.
    """
    replace_text(path, as_json(value).decode())


def as_json(value: Any) -> bytes:
    """Return a value as indented JSON with a line end; NaN becomes null."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"


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
    if is_remote(target):
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
        sync_tree(temporary)  # before the old one goes
        remove_tree(target)
        temporary.replace(target)
        sync(target.parent)
    finally:
        remove_tree(temporary)
