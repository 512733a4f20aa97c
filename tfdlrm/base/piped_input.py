"""Inputs that are a pipe, a device, or standard input."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.base.output_file import STANDARD


def is_piped(path: Path) -> bool:
    """Whether a path can be read only once: `-`, a pipe or a device."""
    if path == STANDARD:
        return True
    try:
        mode = None if storage.is_remote(path) else path.stat().st_mode
    except OSError:
        return False
    return mode is not None and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def refuse_pipe(name: str, path: Path) -> None:
    """Refuse an input that can be read only once but is read again.

    Args:
        name: The setting that names the input.
        path: Its value.

    Raises:
        InputError: If it is a pipe, a device or standard input.
    """
    if is_piped(path):
        source = "standard input" if path == STANDARD else "a pipe or device"
        raise InputError(
            f"{name} {path} is {source}, expected a file, since it is read more than "
            "once: write it to a file first, and give that"
        )


@contextmanager
def as_file(name: str, path: Path) -> Iterator[Path]:
    """Yield a file with the contents of a pipe; other paths are yielded as they are.

    Args:
        name: The setting that names the input.
        path: Its value; `-` is standard input.

    Raises:
        InputError: If the pipe cannot be read, or the block that uses the file raises
            one.
    """
    if not is_piped(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="tfdlrm-") as folder:
        copy = Path(folder) / "input"
        try:
            with _open(path) as pipe, copy.open("wb") as file:
                shutil.copyfileobj(pipe, file, 2**20)
        except OSError as error:
            raise InputError(
                f"{name} {path} cannot be read or kept in {folder}: {error.strerror}"
            ) from None
        try:
            yield copy
        except InputError as error:
            shown_path = "standard input" if path == STANDARD else str(path)
            raise InputError(str(error).replace(str(copy), shown_path)) from None


def _open(path: Path) -> BinaryIO:
    return os.fdopen(os.dup(0), "rb") if path == STANDARD else path.open("rb")
