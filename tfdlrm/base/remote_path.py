"""A path on an object store or a web server that is used like a local one."""

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
def load_tensorflow_io(what: str, scheme: str | None = None) -> Any:
    """Import tensorflow-io.

    Args:
        what: What needs it, for the message.
        scheme: The file system that it must bring along.

    Raises:
        InputError: If it is not installed, or its compiled part does not load with the
            TensorFlow at hand.
    """
    _name_the_endpoint()
    import tensorflow as tf

    try:
        with warnings.catch_warnings():
            # What does not load, it only warns of.
            warnings.simplefilter("ignore")
            import tensorflow_io as tfio

            tfio.experimental  # noqa: B018
    except (ImportError, NotImplementedError, tf.errors.OpError):
        raise _needed(what) from None
    if scheme is not None and scheme not in tf.io.gfile.get_registered_schemes():
        raise _needed(what)
    _LOADED.append(True)
    return tfio


def _needed(what: str) -> InputError:
    import tensorflow as tf

    try:
        found = f"tensorflow-io {version('tensorflow-io')}"
    except PackageNotFoundError:
        found = "no tensorflow-io"
    return InputError(
        f"{what} needs tensorflow-io with a TensorFlow that it was compiled for, here "
        f"are {found} and TensorFlow {tf.__version__}: pip install "
        "tensorflow-io==0.37.1 tensorflow==2.17.1 (or 2.16.2), or use local files"
    )


def _name_the_endpoint() -> None:
    """Let tensorflow-io find the endpoint and region by the usual AWS variables."""
    given = os.environ
    endpoint = given.get("AWS_ENDPOINT_URL_S3") or given.get("AWS_ENDPOINT_URL")
    if endpoint:
        given.setdefault("S3_ENDPOINT", endpoint)
        given.setdefault("S3_USE_HTTPS", "1" if endpoint.startswith("https") else "0")
    if "AWS_DEFAULT_REGION" in given:
        given.setdefault("AWS_REGION", given["AWS_DEFAULT_REGION"])


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn TensorFlow's errors of a file into those of Python."""
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
    """What is known of a remote file.

    Args:
        st_size: Its bytes.
        st_mtime_ns: When it was changed, in nanoseconds since 1970.
        st_ino: 0; a remote file has no number.
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
        """Whether there is a file or a directory."""
        files = self._files
        with storage_errors(str(self)):
            return bool(files.exists(str(self)))

    def is_dir(self) -> bool:
        """Whether there are files below."""
        files = self._files
        with storage_errors(str(self)):
            return bool(files.isdir(str(self)))

    def is_file(self) -> bool:
        """Whether there is a file."""
        return self.exists() and not self.is_dir()

    def stat(self) -> RemoteStat:
        """Size and time."""
        files = self._files
        with storage_errors(str(self)):
            found = files.stat(str(self))
        return RemoteStat(found.length, found.mtime_nsec)

    def iterdir(self) -> Iterator["RemotePath"]:
        """The entries of a directory."""
        files = self._files
        with storage_errors(str(self)):
            names = files.listdir(str(self))
        return (self / name.rstrip("/") for name in names)

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """The entries that match."""
        # Not TensorFlow's, which expands what is in this path too.
        first, _, rest = pattern.partition("/")
        for entry in sorted(self.iterdir()) if self.is_dir() else ():
            if not fnmatchcase(entry.name, first):
                continue
            if rest:
                yield from entry.glob(rest)
            else:
                yield entry

    def rglob(self, pattern: str) -> Iterator["RemotePath"]:
        """The files below whose name matches."""
        files = self._files
        with storage_errors(str(self)):
            for folder, _, names in files.walk(str(self)):
                found = (RemotePath(folder) / name for name in names)
                yield from (path for path in found if path.match(pattern))

    def resolve(self) -> "RemotePath":
        """The path itself, which is absolute."""
        return self

    def open(self, mode: str = "r", encoding: str | None = None) -> IO[Any]:
        """The file, to read (`r`, `rb`) or to write anew (`w`, `wb`)."""
        raw = _RemoteFile(self._files.GFile(str(self), f"{mode[0]}b"), self)
        file: Any = (
            io.BufferedReader(raw, 2**20)
            if mode[0] == "r"
            else io.BufferedWriter(raw, 2**20)
        )
        return file if "b" in mode else io.TextIOWrapper(file, encoding or "utf-8")

    def read_bytes(self) -> bytes:
        """All that the file holds."""
        with self.open("rb") as file:
            return bytes(file.read())

    def read_text(self, encoding: str = "utf-8") -> str:
        """All that the file holds, as text."""
        return self.read_bytes().decode(encoding)

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Write the file anew."""
        with self.open("wb") as file:
            file.write(text.encode(encoding))

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: a directory is there as soon as there is a file below it."""

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        if self.exists() or not missing_ok:
            with storage_errors(str(self)):
                self._files.remove(str(self))

    def replace(self, target: "RemotePath") -> None:
        """Give the file another name."""
        files = self._files
        with storage_errors(str(self)):
            files.rename(str(self), str(target), overwrite=True)

    def remove_tree(self) -> None:
        """Remove all files below."""
        if self.is_dir():
            with storage_errors(str(self)):
                self._files.rmtree(str(self))


class _RemoteFile(io.RawIOBase):
    """TensorFlow's file as Python's, with Python's errors."""

    def __init__(self, file: Any, path: RemotePath) -> None:
        self._file, self._path = file, path
        self._is_read = file.mode == "rb"
        if self._is_read:
            with storage_errors(str(path)):
                file.size()  # opens it, so that what is missing is said at once

    def readable(self) -> bool:
        return self._is_read

    def writable(self) -> bool:
        return not self._is_read

    def seekable(self) -> bool:
        return self._is_read

    def readinto(self, buffer: Any) -> int:
        with storage_errors(str(self._path)):
            read = self._file.read(len(buffer))
        buffer[: len(read)] = read
        return len(read)

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
