"""The one file that a command writes: a new file, a link, a device, or standard output.

Nothing but a file is ever replaced: links are followed, devices and pipes are written
to. What a command reads is refused as its output.
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
    *("train", "validation", "test", "vocabulary"),
    *("saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra"),
    *("config.yaml", "checkpoints", "best.weights.h5"),
}
"""What data sets, models and runs consist of."""


def check_output(name: str, output: Path, **inputs: Path | None) -> None:
    """Refuse a place that no file can be written to, or that would replace an input.

    Args:
        name: The setting that names the output.
        output: Its value.
        inputs: What the command reads: files, or directories of a data set, a model or
            a run, by the names of their settings.

    Raises:
        InputError: If the output is remote, a directory, a block device, or one of the
            inputs or a part of one, also by a link.
    """
    storage.require_local(name, output)
    mode = _mode(output)
    if mode is not None and (stat.S_ISDIR(mode) or stat.S_ISBLK(mode)):
        kind = "a directory" if stat.S_ISDIR(mode) else "a block device"
        raise InputError(f"{name} {output} is {kind}, expected a file to write")
    for setting, path in inputs.items():
        # Of a folder of raw files every one is read.
        if path is not None and _is_part(output, path, setting == "input"):
            raise InputError(
                f"{name} {output} would replace {setting} {path} or a part of it, "
                "expected a file that is not read: give another one"
            )


@contextmanager
def output_file(name: str, output: Path) -> Iterator[BinaryIO]:
    """Open the file that a command writes; a file appears complete or not at all.

    Args:
        name: The setting that names the output.
        output: Its value; `-` is standard output. What is neither a file nor new is
            written to as it is.

    Yields:
        The open file.

    Raises:
        InputError: If it cannot be written.
        BrokenPipeError: If nobody reads the pipe that it is.
    """
    check_output(name, output)
    try:
        if is_stream(output):
            with _opened(output) as file:
                yield file
        else:
            Path(os.path.realpath(output)).parent.mkdir(parents=True, exist_ok=True)
            with storage.whole(output) as aside, aside.open("wb") as file:
                yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(
            f"{name} {output} cannot be written: {error.strerror or error}; expected a "
            "writable directory with room for it"
        ) from error


def is_stream(output: Path) -> bool:
    """Whether an output is written to as it is: standard output, a device or a pipe."""
    if output == STANDARD or _descriptor(output) is not None:
        return True
    mode = _mode(output)
    return mode is not None and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


@contextmanager
def messages_apart(output: Path | None) -> Iterator[None]:
    """Send messages to standard error where standard output takes the output itself."""
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


def _opened(output: Path) -> BinaryIO:
    descriptor = 1 if output == STANDARD else _descriptor(output)
    if descriptor is None:
        return output.open("wb")
    # The descriptor itself: to open the path anew would cut off what is there already.
    sys.stdout.flush()
    return os.fdopen(os.dup(descriptor), "wb")


def _descriptor(path: Path) -> int | None:
    found = _DESCRIPTOR.fullmatch(str(path))
    return None if found is None else _NUMBERS.get(found[1]) or int(found[2] or 0)


def _mode(path: Path) -> int | None:
    """The kind of what is there, links followed."""
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
