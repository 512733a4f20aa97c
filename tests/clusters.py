"""Workers on this machine, as a user would start them on several."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.processes import ROOT


def start_workers(
    num_workers: int, arguments: list[str], cwd: Path
) -> list[subprocess.Popen]:
    """Start Python with these arguments as each of the workers of a cluster."""
    sockets = [socket.socket() for _ in range(num_workers)]
    for each in sockets:
        each.bind(("localhost", 0))
    workers = [f"localhost:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    processes = []
    for index in range(num_workers):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": workers}, "task": task})
        processes.append(
            subprocess.Popen(
                [sys.executable, *arguments],
                cwd=cwd,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(ROOT),
                    "TF_CPP_MIN_LOG_LEVEL": "3",
                    "TF_CONFIG": config,
                },
            )
        )
    return processes
