"""Workers on this machine, each a process with a `TF_CONFIG` of its own."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.laboratory.processes import ROOT


def free_addresses(number: int) -> list[str]:
    """Return addresses on this machine at which nothing listens."""
    sockets = [socket.socket() for _ in range(number)]
    for listener in sockets:
        listener.bind(("localhost", 0))
    addresses = [f"localhost:{listener.getsockname()[1]}" for listener in sockets]
    for listener in sockets:
        listener.close()
    return addresses


def start_workers(
    num_workers: int, arguments: Sequence[str], cwd: Path = ROOT, source: Path = ROOT
) -> list[subprocess.Popen[str]]:
    """Start Python with these arguments as each of the workers of a cluster.

    Args:
        num_workers: Number of processes.
        arguments: Arguments of `python`.
        cwd: Directory in which they start.
        source: Checkout whose code they run.
    """
    workers = free_addresses(num_workers)
    processes = []
    for index in range(num_workers):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": workers}, "task": task})
        environment = {
            "CUDA_VISIBLE_DEVICES": "-1",  # they would share the GPUs of this machine
            **os.environ,
            "PYTHONPATH": str(source),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_CONFIG": config,
        }
        processes.append(
            subprocess.Popen(
                [sys.executable, *arguments],
                cwd=cwd,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return processes
