"""Local and remote paths, and files that are complete or absent.

`at` gives `s3://bucket/clicks` or `http://host/day_0.gz` the methods of `pathlib.Path`
that this project calls. A local path stays pathlib's own; tensorflow-io is imported for
remote paths alone.
"""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

import orjson

from tfdlrm.base.errors import require
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


@contextmanager
def whole(target: Path, suffix: str = "", is_kept: bool = False) -> Iterator[Path]:
    """Yield a temporary path to write to, which replaces `target` if all goes well.

    The path is new each time, so that two processes, one of which may be left over from
    a run that was killed, never write to the same file.

    A link stays, and the file that it leads to is replaced. A device or a pipe is
    written to as it is.

    Args:
        target: The file.
        suffix: An ending of the temporary name, for a writer that demands it.
        is_kept: Whether the caller waits for the disk itself; see
            `tfdlrm.base.kept_files.keep`.

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
        if is_kept:
            temporary.replace(target)
        else:
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
