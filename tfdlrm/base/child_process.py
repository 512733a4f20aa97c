"""A command in a separate process, which stops when its parent is stopped."""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tfdlrm.base.signals import terminate_is_exit

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def run_in_process(
    module: str, config_file: Path, held: Sequence[int] = ()
) -> subprocess.CompletedProcess[str]:
    """Run `python -m MODULE --config FILE`, so that each command has its own memory.

    If this process is asked to stop, it asks the command to stop too, and waits until
    that has saved its work. On Linux the command stops even if this process is killed.

    Args:
        module: The module of the command.
        config_file: The settings.
        held: Open files that the command holds too until it ends, such as locks.

    Returns:
        The finished process with its output.
    """
    command = [sys.executable, "-m", module, "--config", str(config_file)]
    with terminate_is_exit():
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A terminal's interrupt would reach it as well, and a second signal kills.
            start_new_session=True,
            pass_fds=held,
            preexec_fn=_stop_with_parent if sys.platform == "linux" else None,
        )
        try:
            stdout, stderr = process.communicate()
        except BaseException:
            process.terminate()
            process.communicate()
            raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def error_line(process: subprocess.CompletedProcess[str]) -> str | None:
    """Return the message of a command that refused its input, without `error: `.

    Returns:
        `None` for a command that is done.

    Raises:
        RuntimeError: If it ended otherwise, with all that it said.
    """
    lines = process.stderr.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    if process.returncode == 2 and errors:
        return errors[-1].removeprefix("error: ")
    if process.returncode:
        command = " ".join(process.args)
        raise RuntimeError(
            f"{command} ended with status {process.returncode}:\n{process.stderr}"
        )
    return None


def _stop_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
