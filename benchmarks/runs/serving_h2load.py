"""Ask the server with `h2load`, which needs far less of the processor than Python does.

On a machine of few cores the client takes its time from the server. The Python client
checks every answer; this one shows what the server itself can do.
"""

import shutil
import struct
import subprocess
import tempfile
import urllib.request
from pathlib import Path

import numpy as np

from benchmarks.runs.serving_load import PREDICT, LoadResult
from tfdlrm.base.errors import InputError

WARM_UP_REQUESTS = 2000


def is_installed() -> bool:
    """Whether there is an `h2load`; it comes with nghttp2's clients."""
    return shutil.which("h2load") is not None


def ask(
    grpc: str, rest: str, requests: Path, concurrency: int, seconds: float
) -> LoadResult:
    """Send the first request of a file over and over, on one connection.

    Answers are counted, not compared.

    Args:
        grpc: Address such as 127.0.0.1:8500.
        rest: Address whose metrics say how many answers were good.
        requests: File of `benchmarks.runs.serving_load.save_requests`.
        concurrency: Requests in flight at a time.
        seconds: Approximate time to measure.
    """
    with np.load(requests) as file:
        first_request = file["bodies"][: file["ends"][0]].tobytes()
    warm_up, _ = _run(grpc, first_request, concurrency, WARM_UP_REQUESTS)
    number = max(concurrency, round(WARM_UP_REQUESTS / warm_up * seconds))
    right_before = _right_answers(rest)
    took, times = _run(grpc, first_request, concurrency, number)
    right = _right_answers(rest) - right_before
    p50, p99, p999 = (np.percentile(times, [50, 99, 99.9]) * 1000).tolist()
    return LoadResult(right, number - right, right / took, p50, p99, p999)


def _run(
    grpc: str, message: bytes, concurrency: int, number: int
) -> tuple[float, np.ndarray]:
    """Send a message so many times.

    Returns:
        Seconds from the first request to the last answer, and those of each request.
    """
    headers = ("--header=content-type: application/grpc", "--header=te: trailers")
    how = ("--clients=1", f"--max-concurrent-streams={concurrency}", "-n", str(number))
    with tempfile.TemporaryDirectory() as directory:
        body, log = Path(directory, "body"), Path(directory, "log")
        body.write_bytes(b"\0" + struct.pack(">I", len(message)) + message)
        subprocess.run(
            [
                *("h2load", *how, *headers, f"--data={body}", f"--log-file={log}"),
                f"http://{grpc}{PREDICT}",
            ],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        starts, _, took = np.loadtxt(log, unpack=True) / 1e6
    if len(starts) != number:
        raise InputError(f"h2load logged {len(starts)} of {number} requests")
    return float((starts + took).max() - starts.min()), took


def _right_answers(rest: str) -> int:
    """Return the number of requests that the server counts as answered."""
    url = f"http://{rest}/monitoring/prometheus/metrics"
    with urllib.request.urlopen(url) as page:
        lines = page.read().decode().splitlines()
    good = [line for line in lines if "request_count{" in line and '"OK"' in line]
    return sum(int(line.rsplit(" ", 1)[1]) for line in good)
