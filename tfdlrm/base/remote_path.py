"""A path on an object store or a web server that is used like a local path."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePosixPath
from typing import IO, Any

from tfdlrm.base.errors import InputError

REMOTE_SCHEMES = ("s3:", "http:", "https:")

_LOADED: list[bool] = []


def is_loaded() -> bool:
    """Whether tensorflow-io has been imported for a remote path or a stream."""
    return bool(_LOADED)


@cache
def load_tensorflow_io(subject: str, scheme: str | None = None) -> Any:
    """Import tensorflow-io.

    Args:
        subject: Subject of the message, such as a path; it needs the library.
        scheme: The file system that it must support.

    Raises:
        InputError: If it is not installed, or its compiled part does not load with the
            TensorFlow at hand.
    """
    _set_endpoint()
    import tensorflow as tf

    try:
        with warnings.catch_warnings():
            # It only warns of what does not load.
            warnings.simplefilter("ignore")
            import tensorflow_io as tfio

            tfio.experimental  # noqa: B018
    except (ImportError, NotImplementedError, tf.errors.OpError):
        raise _install_error(subject) from None
    if scheme is not None and scheme not in tf.io.gfile.get_registered_schemes():
        raise _install_error(subject)
    _LOADED.append(True)
    return tfio


def _install_error(subject: str) -> InputError:
    import tensorflow as tf

    try:
        installed = f"tensorflow-io {version('tensorflow-io')}"
    except PackageNotFoundError:
        installed = "no tensorflow-io"
    return InputError(
        f"{subject} needs tensorflow-io with a TensorFlow that it was compiled for, "
        f"here are {installed} and TensorFlow {tf.__version__}: pip install "
        "tensorflow-io==0.37.1 tensorflow==2.17.1 (or 2.16.2), or use local files"
    )


def _set_endpoint() -> None:
    """Set the endpoint and region for tensorflow-io from the usual AWS variables."""
    variables = os.environ
    endpoint = variables.get("AWS_ENDPOINT_URL_S3") or variables.get("AWS_ENDPOINT_URL")
    if endpoint:
        variables.setdefault("S3_ENDPOINT", endpoint)
        variables.setdefault(
            "S3_USE_HTTPS", "1" if endpoint.startswith("https") else "0"
        )
    if "AWS_DEFAULT_REGION" in variables:
        variables.setdefault("AWS_REGION", variables["AWS_DEFAULT_REGION"])


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Raise TensorFlow's errors about a file as errors of Python."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.NotFoundError:
        raise FileNotFoundError(2, "there is no such object", url) from None
    except tf.errors.OpError as error:
        reason = " ".join(str(error.message).split())[:200]
        raise OSError(5, reason, url) from None


@dataclass(frozen=True)
class RemoteStat:
    """Facts about a remote file.

    Args:
        st_size: Its bytes.
        st_mtime_ns: Time of the last change, in nanoseconds since 1970.
        st_ino: 0; a remote file has no inode.
    """

    st_size: int
    st_mtime_ns: int
    st_ino: int = 0


class RemotePath(PurePosixPath):
    """A remote path with those methods of `pathlib.Path` that this project calls.

    Example:

    >>> RemotePath("s3://bucket/runs") / "first"
    RemotePath('s3://bucket/runs/first')
    """

    __slots__ = ()

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)

    @property
    def _files(self) -> Any:
        scheme = self.parts[0].rstrip(":")
        load_tensorflow_io(f"{scheme}://", scheme)
        import tensorflow as tf

        return tf.io.gfile

    def exists(self) -> bool:
        """Whether a file or a directory exists here."""
        files = self._files
        with storage_errors(str(self)):
            return bool(files.exists(str(self)))

    def is_dir(self) -> bool:
        """Whether there are files below this path."""
        files = self._files
        with storage_errors(str(self)):
            return bool(files.isdir(str(self)))

    def is_file(self) -> bool:
        """Whether a file exists here."""
        return self.exists() and not self.is_dir()

    def stat(self) -> RemoteStat:
        """Return size and time."""
        files = self._files
        with storage_errors(str(self)):
            status = files.stat(str(self))
        return RemoteStat(status.length, status.mtime_nsec)

    def iterdir(self) -> Iterator["RemotePath"]:
        """Return the entries of a directory."""
        files = self._files
        with storage_errors(str(self)):
            names = files.listdir(str(self))
        return (self / name.rstrip("/") for name in names)

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """Yield the entries that match a pattern."""
        # Not TensorFlow's glob, which expands patterns in this path too.
        entry_pattern, _, deeper_pattern = pattern.partition("/")
        for entry in sorted(self.iterdir()) if self.is_dir() else ():
            if not fnmatchcase(entry.name, entry_pattern):
                continue
            if deeper_pattern:
                yield from entry.glob(deeper_pattern)
            else:
                yield entry

    def rglob(self, pattern: str) -> Iterator["RemotePath"]:
        """Yield the files below this path whose name matches."""
        files = self._files
        with storage_errors(str(self)):
            for folder, _, names in files.walk(str(self)):
                paths = (RemotePath(folder) / name for name in names)
                yield from (path for path in paths if path.match(pattern))

    def resolve(self) -> "RemotePath":
        """Return the path itself, which is absolute."""
        return self

    def open(self, mode: str = "r", encoding: str | None = None) -> IO[Any]:
        """Open the file to read (`r`, `rb`) or to replace (`w`, `wb`)."""
        raw = _RemoteFile(self._files.GFile(str(self), f"{mode[0]}b"), self)
        file: Any = (
            io.BufferedReader(raw, 2**20)
            if mode[0] == "r"
            else io.BufferedWriter(raw, 2**20)
        )
        return file if "b" in mode else io.TextIOWrapper(file, encoding or "utf-8")

    def read_bytes(self) -> bytes:
        """Return the contents of the file."""
        with self.open("rb") as file:
            return bytes(file.read())

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the contents of the file as text."""
        return self.read_bytes().decode(encoding)

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Replace the contents of the file."""
        with self.open("wb") as file:
            file.write(text.encode(encoding))

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: a directory exists as soon as a file below it does."""

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        if self.exists() or not missing_ok:
            with storage_errors(str(self)):
                self._files.remove(str(self))

    def replace(self, target: "RemotePath") -> None:
        """Rename the file."""
        files = self._files
        with storage_errors(str(self)):
            files.rename(str(self), str(target), overwrite=True)

    def remove_tree(self) -> None:
        """Remove all files below this path."""
        if self.is_dir():
            with storage_errors(str(self)):
                self._files.rmtree(str(self))


class _RemoteFile(io.RawIOBase):
    """A file of TensorFlow as a file of Python, with Python's errors."""

    def __init__(self, file: Any, path: RemotePath) -> None:
        self._file, self._path = file, path
        self._is_reader = file.mode == "rb"
        if self._is_reader:
            with storage_errors(str(path)):
                file.size()  # opens it, so that a missing file is reported at once

    def readable(self) -> bool:
        return self._is_reader

    def writable(self) -> bool:
        return not self._is_reader

    def seekable(self) -> bool:
        return self._is_reader

    def readinto(self, buffer: Any) -> int:
        with storage_errors(str(self._path)):
            contents = self._file.read(len(buffer))
        buffer[: len(contents)] = contents
        return len(contents)

    def write(self, text: Any) -> int:
        with storage_errors(str(self._path)):
            self._file.write(bytes(text))
        return len(text)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = (0, self.tell, self._file.size)[whence]
        self._file.seek(offset + (start() if callable(start) else start))
        return self.tell()

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            super().close()
            with storage_errors(str(self._path)):
                self._file.close()
