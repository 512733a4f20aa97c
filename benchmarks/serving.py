"""`python -m benchmarks.serving`: requests a second and times of the embedded server.

Where `h2load` is installed, it asks too: the Python client, which checks every answer,
takes nearly as much of the processor as the server.

The peers run the same model in their own process, without requests: the difference is
the price of a server.
"""

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.laboratory.machine import describe
from benchmarks.laboratory.processes import ROOT, answer_of
from benchmarks.laboratory.table import Cell, markdown
from benchmarks.runs import serving_h2load
from benchmarks.runs.serving_load import LoadResult
from benchmarks.workload.served_dlrm import Workload, prepare
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import InputError, require

ROUNDS = 3
"""Times that two servers are compared, in turn; the median counts."""

HEADER = (
    "system",
    "loop",
    "rows",
    "requests/s",
    "rows/s",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "wrong",
)


@dataclass(frozen=True)
class ServingBenchmark:
    """Measure the embedded server on DLRM with the Criteo Kaggle architecture.

    Args:
        batch_sizes: Rows a request.
        protocols: grpc, rest or both.
        concurrency: Requests in flight in the closed loop at batch 1; larger batches
            have an eighth of them.
        rates: Requests a second in open loops at batch 1, over gRPC.
        peers: In-process peers: session, onnxruntime or litert.
        logged: Share of the requests that a second server logs, to be compared with
            the first in turn at batch 1; 0 for no such server.
        table_scale: Factor of the published vocabulary sizes.
        seconds: Time of each measurement.
    """

    batch_sizes: tuple[int, ...] = (1, 256)
    protocols: tuple[str, ...] = ("grpc", "rest")
    concurrency: int = 64
    rates: tuple[float, ...] = (1000.0, 2500.0)
    peers: tuple[str, ...] = ("session", "onnxruntime", "litert")
    logged: float = 0.01
    table_scale: float = 0.01
    seconds: float = 8.0

    def __post_init__(self) -> None:
        require(self.seconds > 0, "seconds", self.seconds, "> 0")
        require(0 <= self.logged <= 1, "logged", self.logged, "from 0 to 1")
        require(self.table_scale > 0, "table_scale", self.table_scale, "> 0")
        for protocol in self.protocols:
            require(protocol in ("grpc", "rest"), "protocols", protocol, "grpc or rest")


@contextmanager
def server(*arguments: str) -> Iterator[dict[str, str]]:
    """Run the embedded server on free ports; yields its address by protocol."""
    with socket.socket() as grpc_socket, socket.socket() as rest_socket:
        for probe in (grpc_socket, rest_socket):
            probe.bind(("127.0.0.1", 0))
        ports = {
            "grpc": grpc_socket.getsockname()[1],
            "rest": rest_socket.getsockname()[1],
        }
    options = [f"--port={ports['grpc']}", f"--rest_api_port={ports['rest']}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tfdlrm.serve", *arguments, *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        if not process.stdout.readline().startswith("Serving"):
            raise InputError("the server did not start")
        yield {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    finally:
        process.terminate()
        process.wait()


def _child(module: str, **options: object) -> LoadResult:
    """Run a module of `benchmarks` that prints a result."""
    return LoadResult(**answer_of(module, **options))


def measure(benchmark: ServingBenchmark, workload: Workload) -> list[Sequence[Cell]]:
    """Return the rows of the table."""
    rows: list[Sequence[Cell]] = []

    def add(system: str, loop: str, size: int, result: LoadResult) -> None:
        times = (result.p50_ms, result.p99_ms, result.p999_ms)
        per_second = result.per_second
        rows.append(
            (system, loop, size, per_second, per_second * size, *times, result.wrong)
        )
        print(f"{system}, {loop}, {size} rows: done", file=sys.stderr, flush=True)

    for size in benchmark.batch_sizes:
        with server(str(workload.models["server"])) as addresses:
            for protocol in benchmark.protocols:
                at_once = max(1, benchmark.concurrency // (1 if size == 1 else 8))
                options = {
                    "address": addresses[protocol],
                    "protocol": protocol,
                    "requests": workload.requests[protocol, size],
                    "seconds": benchmark.seconds,
                }
                result = _child("runs.serving_load", concurrency=at_once, **options)
                add(protocol, f"{at_once} at a time", size, result)
                if protocol == "grpc" and serving_h2load.is_installed():
                    result = serving_h2load.ask(
                        addresses["grpc"],
                        addresses["rest"],
                        workload.requests[protocol, size],
                        at_once,
                        benchmark.seconds,
                    )
                    add("grpc, by h2load", f"{at_once} at a time", size, result)
                if size == 1 and protocol == "grpc":
                    for rate in benchmark.rates:
                        result = _child("runs.serving_load", rate=rate, **options)
                        add(protocol, f"{rate:,.0f} a second", size, result)
        for peer in (name for name in benchmark.peers if name in workload.models):
            result = _child(
                "runs.serving_inprocess",
                system=peer,
                model=workload.models[peer],
                rows=workload.rows,
                batch_size=size,
                seconds=benchmark.seconds,
            )
            add(f"{peer}, in process", "1 at a time", size, result)
    return rows


def compare_logging(benchmark: ServingBenchmark, workload: Workload) -> list[str]:
    """Return what logging leaves of the requests a second, in a line a protocol."""
    versions = workload.models["server"]
    config = versions.with_suffix(".config")
    config.write_text(
        f"""model_config_list {{ config {{ name: "dlrm" base_path: "{versions}"
        logging_config {{
          sampling_config {{ sampling_rate: {benchmark.logged} }}
          log_collector_config {{ filename_prefix: "{versions.parent}/logs/" }}
        }} }} }}"""
    )
    with (
        server(str(versions)) as plain,
        server(f"--model_config_file={config}") as logs,
    ):
        return [
            f"{protocol}, {benchmark.logged:.0%} logged: "
            + _ratio(benchmark, workload, protocol, plain[protocol], logs[protocol])
            for protocol in benchmark.protocols
        ]


def _ratio(
    benchmark: ServingBenchmark,
    workload: Workload,
    protocol: str,
    plain: str,
    logging: str,
) -> str:
    rates: dict[str, list[float]] = {plain: [], logging: []}
    for _ in range(ROUNDS):
        for address, measured in rates.items():
            result = _child(
                "runs.serving_load",
                address=address,
                protocol=protocol,
                requests=workload.requests[protocol, 1],
                concurrency=benchmark.concurrency,
                seconds=benchmark.seconds,
            )
            measured.append(result.per_second)
    before, after = (np.median(rates[address]) for address in (plain, logging))
    return f"{after:,.0f} of {before:,.0f} requests/s, {after / before:.3f}"


def main() -> None:
    benchmark = parse(ServingBenchmark, "benchmarks.serving")
    print(describe(), "\n")
    with tempfile.TemporaryDirectory() as directory:
        workload = prepare(
            Path(directory),
            benchmark.table_scale,
            benchmark.batch_sizes,
            benchmark.protocols,
            benchmark.peers,
        )
        rows = measure(benchmark, workload)
        is_compared = benchmark.logged and 1 in benchmark.batch_sizes
        lines = compare_logging(benchmark, workload) if is_compared else []
    print(markdown(HEADER, rows), *lines, sep="\n")


if __name__ == "__main__":
    run_command(main)
