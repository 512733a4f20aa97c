"""The first use of XLA without its greeting, and with everything else that is said."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_PROGRAM = r"""
import re, sys
greeting = re.compile(rb"I\d{4} |WARNING: All log messages before absl::InitializeLog")
for line in sys.stdin.buffer:
    if not greeting.match(line):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""
"""Hand on what is no information of XLA's log, which no log level stops."""


@contextmanager
def without_greeting() -> Iterator[None]:
    """Leave XLA's information out of standard error meanwhile.

    A process of its own reads standard error, so that the last words of one that is
    ended by XLA, such as for want of a CUDA library, still appear.
    """
    reader = _started_reader()
    if reader is None or reader.stdin is None:
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    os.dup2(reader.stdin.fileno(), 2)
    reader.stdin.close()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        reader.wait()


def _started_reader() -> subprocess.Popen[bytes] | None:
    """Start the reader; `None` if that fails: the greeting does no harm."""
    if sys.stderr is None:  # it was closed before Python started
        return None
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not for it
        )
    except OSError:
        return None
