"""Run commands as a user does: in a process of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

_GPUS = ("CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE")

# TensorFlow from 2.20 on prints this on a machine without a GPU, at any log level.
_TENSORFLOW_NOISE = re.compile(r"(WARNING: All log messages before|I0000 ).*\n")


def run_command_line(
    command: str, cwd: Path | None = None
) -> subprocess.CompletedProcess:
    """Run a shell line with this Python and this project in its reach."""
    process = subprocess.run(
        command,
        shell=True,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            **{name: os.environ[name] for name in _GPUS if name in os.environ},
        },
    )
    process.stderr = _TENSORFLOW_NOISE.sub("", process.stderr)
    return process
