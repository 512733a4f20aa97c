"""`python -m benchmarks.serving_attack`: good requests next to hostile ones.

Good requests of one row are sent at a steady rate, in turns without and with an
attacker who sends one expensive request after another. The ratio is that of the times
at p99.
"""

import gzip
import http.client
import multiprocessing
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from benchmarks.laboratory.machine import describe
from benchmarks.laboratory.processes import answer_of
from benchmarks.laboratory.table import Cell, markdown
from benchmarks.runs.serving_load import LoadResult
from benchmarks.serving import server
from benchmarks.workload.served_dlrm import Workload, prepare
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import require

INFLATED_BYTES = 67_000_000
HEADER = (
    "attack",
    "bytes sent",
    "good requests",
    "p99 ms without",
    "p99 ms with",
    "ratio",
    "wrong",
)


@dataclass(frozen=True)
class AttackBenchmark:
    """Measure the times of good requests next to expensive ones.

    Args:
        rate: Good requests a second.
        seconds: Measure each turn for this long.
        turns: Number of turns without and with each attack; the table has medians.
        attackers: Connections that send expensive requests at a time.
    """

    rate: float = 100.0
    seconds: float = 5.0
    turns: int = 3
    attackers: int = 1

    def __post_init__(self) -> None:
        require(self.rate > 0, "rate", self.rate, "> 0")
        require(self.seconds > 0, "seconds", self.seconds, "> 0")
        require(self.turns >= 1, "turns", self.turns, ">= 1")
        require(self.attackers >= 1, "attackers", self.attackers, ">= 1")


def _fill(head: bytes, item: bytes, tail: bytes) -> bytes:
    """Return a body of `INFLATED_BYTES` that is mostly one item."""
    return head + item * ((INFLATED_BYTES - len(head) - len(tail)) // len(item)) + tail


def _valid(rows: int) -> bytes:
    inputs = {
        "dense_features": [[0.5] * 13] * rows,
        "categorical_features": [[0] * 26] * rows,
    }
    return orjson.dumps({"inputs": inputs})


ATTACKS: dict[str, Callable[[], bytes]] = {
    "empty lists": lambda: _fill(b'{"instances":[', b"[],", b"[]]}"),
    "zeros": lambda: _fill(b'{"inputs":{"dense_features":[', b"0,", b"0]}}"),
    "NaN and empty lists": lambda: _fill(b'{"instances":[NaN,', b"[],", b"[]]}"),
    "empty objects": lambda: _fill(b'{"instances":[', b"{},", b"{}]}"),
    "commas in a string": lambda: _fill(b'{"instances":["', b",", b'"]}'),
    "an open list after another": lambda: b"[" * INFLATED_BYTES,
    "lists of 250 kB": lambda: b'{"instances":[' + b"[]," * 83_000 + b"[]]}",
    "numbers of 250 kB": lambda: b'{"inputs":[' + b"0," * 124_000 + b"0]}",
    "4,096 valid rows": lambda: _valid(4_096),
    "65,536 valid rows": lambda: _valid(65_536),
}


def _attack(address: str, body: bytes) -> None:
    """Send a request again and again until the process is ended."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    while True:
        connection = http.client.HTTPConnection(address, timeout=120)
        try:
            connection.request("POST", "/v1/models/dlrm:predict", body, headers)
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            pass  # refused: the next one
        finally:
            connection.close()


@contextmanager
def _attackers(number: int, address: str, body: bytes) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_attack, args=(address, body), daemon=True)
        for _ in range(number)
    ]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def measure(benchmark: AttackBenchmark, workload: Workload) -> Iterator[list[Cell]]:
    """Return the rows of the table."""
    for name, make in ATTACKS.items():
        body = gzip.compress(make(), 9)
        with server(str(workload.models["server"])) as addresses:

            def ask() -> LoadResult:
                return LoadResult(
                    **answer_of(
                        "runs.serving_load",
                        address=addresses["rest"],
                        protocol="rest",
                        requests=workload.requests["rest", 1],
                        rate=benchmark.rate,
                        seconds=benchmark.seconds,
                    )
                )

            without, under = [], []
            for _ in range(benchmark.turns):
                without.append(ask())
                with _attackers(benchmark.attackers, addresses["rest"], body):
                    under.append(ask())
        p99 = [
            statistics.median(result.p99_ms for result in results)
            for results in (without, under)
        ]
        good = sum(result.answers for result in under)
        wrong = sum(result.wrong for result in (*without, *under))
        print(f"{name}: done", file=sys.stderr, flush=True)
        yield [name, len(body), good, *p99, p99[1] / p99[0], wrong]


def main() -> None:
    benchmark = parse(AttackBenchmark, "benchmarks.serving_attack")
    print(describe(), "\n")
    with tempfile.TemporaryDirectory() as directory:
        workload = prepare(Path(directory), 0.01, (1,), ("rest",), ())
        rows = list(measure(benchmark, workload))
    print(markdown(HEADER, rows))


if __name__ == "__main__":
    run_command(main)
