"""Training in a separate process, which stops when its parent is stopped."""

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
    """Run `python -m tfdlrm.train --config FILE`, so that each run has its own memory.

    If this process is asked to stop, it asks training to stop too, and waits until that
    has written a checkpoint. On Linux training stops even if this process is killed.

    Args:
        config_file: The settings.

    Returns:
        The finished process with its output.
    """
    command = [sys.executable, "-m", "tfdlrm.train", "--config", str(config_file)]
    with _terminate_is_exit():
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A terminal's interrupt would reach it as well, and a second signal kills.
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

    old_handler = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old_handler)
