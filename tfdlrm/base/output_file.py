"""The output of a command: a new file, a link, a device, or standard output.

Only files are replaced: links are followed, devices and pipes are written to. An input
of the command is refused as its output.
"""

import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import BinaryIO

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError

STANDARD = Path("-")
"""Standard output, or standard input where a command reads a file."""

_DESCRIPTOR = re.compile(r"/dev/(stdin|stdout|stderr)|(?:/dev|/proc/self)/fd/(\d+)")
_NUMBERS = {"stdin": 0, "stdout": 1, "stderr": 2}

_OF_DIRECTORIES = {
    *("schema.json", "coverage.json", "coverage.md", "coverage.png"),
    *("train", "validation", "test", "vocabulary", "rare_values"),
    *("saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra"),
    *("config.yaml", "checkpoints", "best.weights.h5"),
}
"""Names of the entries of data sets, models and runs."""


def check_output(name: str, output: Path, **inputs: Path | None) -> None:
    """Refuse an output that cannot be a file, or that would replace an input.

    Args:
        name: The setting that names the output.
        output: Its value.
        inputs: Files or directories of a data set, a model or a run that the command
            reads, by the names of their settings.

    Raises:
        InputError: If the output is remote, a directory, a block device, or one of the
            inputs or a part of one, also through a link.
    """
    storage.require_local(name, output)
    mode = _mode(output)
    if mode is not None and (stat.S_ISDIR(mode) or stat.S_ISBLK(mode)):
        file_type = "a directory" if stat.S_ISDIR(mode) else "a block device"
        raise InputError(f"{name} {output} is {file_type}, expected a file to write")
    for setting, path in inputs.items():
        # Every file in a folder of raw files is read.
        if path is not None and _is_part(output, path, setting == "raw"):
            raise InputError(
                f"{name} {output} would replace {setting} {path} or a part of it, "
                "expected a file that is not read: give another one"
            )


@contextmanager
def output_file(name: str, output: Path) -> Iterator[BinaryIO]:
    """Open the output of a command; a file appears complete or not at all.

    Args:
        name: The setting that names the output.
        output: Its value; `-` is standard output. A device or a pipe is written to as
            it is.

    Yields:
        The open file.

    Raises:
        InputError: If it cannot be written.
        BrokenPipeError: If the output is a pipe that nobody reads.
    """
    check_output(name, output)
    try:
        if is_stream(output):
            with _open_stream(output) as file:
                yield file
        else:
            Path(os.path.realpath(output)).parent.mkdir(parents=True, exist_ok=True)
            with storage.whole(output) as temporary, temporary.open("wb") as file:
                yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(
            f"{name} {output} cannot be written: {error.strerror or error}; expected a "
            "writable directory with room for it"
        ) from error


def is_stream(output: Path) -> bool:
    """Whether an output is standard output, a device or a pipe, and not replaced."""
    if output == STANDARD or _descriptor(output) is not None:
        return True
    mode = _mode(output)
    return mode is not None and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


@contextmanager
def messages_apart(output: Path | None) -> Iterator[None]:
    """Send messages to standard error if standard output is the output itself."""
    is_taken = output is not None and _is_standard_output(output)
    with redirect_stdout(sys.stderr) if is_taken else nullcontext():
        yield


def _is_standard_output(output: Path) -> bool:
    if output == STANDARD or _descriptor(output) == 1:
        return True
    try:
        return is_stream(output) and os.path.samestat(output.stat(), os.fstat(1))
    except OSError:
        return False


def _open_stream(output: Path) -> BinaryIO:
    descriptor = 1 if output == STANDARD else _descriptor(output)
    if descriptor is None:
        return output.open("wb")
    # The descriptor itself: opening the path again would truncate its contents.
    sys.stdout.flush()
    return os.fdopen(os.dup(descriptor), "wb")


def _descriptor(path: Path) -> int | None:
    match = _DESCRIPTOR.fullmatch(str(path))
    return None if match is None else _NUMBERS.get(match[1]) or int(match[2] or 0)


def _mode(path: Path) -> int | None:
    """Return the mode of a local file, links followed; `None` without one."""
    if storage.is_remote(path) or path == STANDARD:
        return None
    try:
        return path.stat().st_mode
    except OSError:
        return None


def _is_part(output: Path, path: Path, of_any_name: bool) -> bool:
    mode = _mode(output)
    if mode is None or not stat.S_ISREG(mode) or _mode(path) is None:
        return False
    if not path.is_dir():
        return path.samefile(output)
    root, file = path.resolve(), output.resolve()
    parts = file.relative_to(root).parts if file.is_relative_to(root) else ()
    return bool(parts) and (of_any_name or not _OF_DIRECTORIES.isdisjoint(parts))
