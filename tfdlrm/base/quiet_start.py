"""Hide the messages that XLA prints when it starts, and no others."""

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
"""Pass on all but the INFO lines of XLA's log, which no log level stops."""


@contextmanager
def without_greeting() -> Iterator[None]:
    """Filter XLA's INFO lines out of standard error inside the block.

    A separate process reads standard error, so that the last message still appears
    where XLA ends this process, for example because a CUDA library is missing.
    """
    reader = _start_reader()
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


def _start_reader() -> subprocess.Popen[bytes] | None:
    """Start the reader; return `None` if that fails: the greeting does no harm."""
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
