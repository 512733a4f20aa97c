"""The status that a command ends with, and the line that it prints for an exception."""

import atexit
import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, NoReturn, TextIO

from tfdlrm.base.errors import InputError, LostWorkerError
from tfdlrm.base.plain_text import visible
from tfdlrm.base.remote_path import is_loaded


def run_command(main: Callable[[], None]) -> NoReturn:
    """Call `main` and end the process with the status that every command promises.

    0 when done, 2 with one line on standard error for bad input or configuration, or a
    file that the machine refuses to read or write, 130 when interrupted, 141 when
    nobody reads the pipe that the output goes to, 1 with one line where another machine
    is gone or a benchmark could not measure; anything else is a defect and shows its
    traceback with status 1. Messages that nobody reads are dropped.
    """
    # Before anything imports TensorFlow: its start-up log is not for the user.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A path need not be text, nor a terminal have all characters.
        sys.stdout.reconfigure(errors="backslashreplace")
    standard_output: Any = _ReadOutput(sys.stdout)
    with redirect_stdout(standard_output):
        _run(main)
    leave(0)


def _run(main: Callable[[], None]) -> None:
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # of another output
        leave(_CLOSED_PIPE)
    except InputError as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)
        leave(2)
    except LostWorkerError as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)
        leave(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        leave(130)
    except SystemExit as stopped:
        if isinstance(stopped.code, str):
            print(stopped.code, file=sys.stderr)
            leave(1)
        leave(stopped.code or 0)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _REFUSALS:
            file = error.filename or "a file"
            if error.filename is None:  # perhaps it was standard output
                _forget_standard_output()
            message = f"{file}: {error.strerror}; fix that"
            print(f"error: {visible(message)}", file=sys.stderr)
            leave(2)
        if not is_loaded():
            raise
        traceback.print_exc()
        leave(1)


class _ReadOutput:
    """Standard output that drops messages once nobody reads it.

    Training, for example, goes on, and still saves its work when it is asked to stop.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with _drop_unread():
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with _drop_unread():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _drop_unread() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        _forget_standard_output()


def _forget_standard_output() -> None:
    """Drop what standard output has not taken, so that the exit does not try again."""
    null_device = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null_device, 1)
    os.close(null_device)


_CLOSED_PIPE = 128 + signal.SIGPIPE
"""The status that a shell reports for a program that such a pipe ends."""

_REFUSALS = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EISDIR,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
"""Refusals of the machine, which the user has to fix: no defect of this project."""


def leave(status: int) -> NoReturn:
    """End the process with a status that remote storage does not change.

    After an access to S3 the threads of tensorflow-io abort an orderly exit (`pure
    virtual method called`, status 134), although all work is done.
    """
    if is_loaded():
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
