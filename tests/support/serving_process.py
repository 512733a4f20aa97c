"""Run the server as users do: in a process of its own, on free ports."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.processes import ROOT


@dataclass
class Running:
    """A server that answers."""

    process: subprocess.Popen
    port: int
    rest_port: int
    log: list

    @property
    def grpc(self):
        return f"127.0.0.1:{self.port}"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.rest_port}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(*arguments, rest=True, environment=(), cwd=ROOT):
    """Start `python -m tfdlrm.serve`, and stop it at the end.

    Args:
        environment: Variables in addition to those of this process.
        cwd: Directory that it starts in.
    """
    port, rest_port = free_port(), free_port() if rest else 0
    command = [sys.executable, "-m", "tfdlrm.serve", *map(str, arguments)]
    process = subprocess.Popen(
        [*command, f"--port={port}", f"--rest_api_port={rest_port}"],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **dict(environment)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log = []
    try:
        for line in process.stdout:
            log.append(line)
            if re.match("Serving ", line):
                break
        assert process.poll() is None and log, "".join(log)
        yield Running(process, port, rest_port, log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            rest_of_log, _ = process.communicate(timeout=60)
            log.append(rest_of_log)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
