"""A training run in a process of its own, which stops when its parent is stopped."""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def train_in_process(config_file: Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m tfdlrm.train --config FILE`, so that its memory is its own too.

    Where this process is asked to stop, training is asked too, and waited for: it
    writes a checkpoint. On Linux it is asked even if this process is killed.

    Args:
        config_file: The settings.

    Returns:
        The finished process with what it wrote.
    """
    command = [sys.executable, "-m", "tfdlrm.train", "--config", str(config_file)]
    with _terminate_is_exit():
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A terminal's interrupt would reach it too, and a second signal kills.
            start_new_session=True,
            preexec_fn=_stop_with_parent if sys.platform == "linux" else None,
        )
        try:
            stdout, stderr = process.communicate()
        except BaseException:
            process.terminate()
            process.communicate()
            raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def _stop_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def _terminate_is_exit() -> Iterator[None]:
    """Let a request to terminate end this process the way an interrupt does."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
