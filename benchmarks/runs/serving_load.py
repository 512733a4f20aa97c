"""Send requests, many at a time or at a steady rate, and check every answer.

This is a process of its own, so that its cost is not taken for the server's, although
both share the machine.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import grpc
import numpy as np
import uvloop
from tensorflow_serving.apis import predict_pb2

from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import require

PREDICT = "/tensorflow.serving.PredictionService/Predict"
TOLERANCE = 1e-5
WARM_UP_SECONDS = 1.0

Ask = Callable[[int], Awaitable[bytes]]
"""Sends request i, and gives the answer's bytes."""

Probabilities = Callable[[bytes], np.ndarray]


@dataclass(frozen=True)
class LoadCommand:
    """Ask a server and print the times as JSON.

    Args:
        address: Such as 127.0.0.1:8500.
        protocol: grpc or rest.
        requests: File of `save_requests`.
        concurrency: Requests in flight at a time; in an open loop, connections.
        rate: Requests a second that are sent whatever the answers do; null for a
            closed loop, in which each answer lets the next request go.
        seconds: Measure for this long.
    """

    address: str
    requests: Path
    protocol: Literal["grpc", "rest"] = "grpc"
    concurrency: int = 64
    rate: float | None = None
    seconds: float = 10.0

    def __post_init__(self) -> None:
        require(self.concurrency >= 1, "concurrency", self.concurrency, ">= 1")
        require(self.seconds > 0, "seconds", self.seconds, "> 0")


@dataclass(frozen=True)
class LoadResult:
    """Answers and times of a load.

    Args:
        answers: Right answers within the time.
        wrong: Answers that were another request's, or no answer at all.
        per_second: Right answers a second.
        p50_ms: Half of the answers took no longer.
        p99_ms: 99 of 100 answers took no longer.
        p999_ms: 999 of 1000 answers took no longer.
    """

    answers: int
    wrong: int
    per_second: float
    p50_ms: float
    p99_ms: float
    p999_ms: float


def save_requests(path: Path, bodies: list[bytes], expected: list[np.ndarray]) -> None:
    """Write requests of one size with the probabilities that they should get."""
    np.savez(
        path,
        bodies=np.frombuffer(b"".join(bodies), np.uint8),
        ends=np.cumsum([len(body) for body in bodies]),
        expected=np.stack(expected),
    )


class Load:
    """Sends requests, checks the answers and keeps their times.

    Args:
        ask: Sends a request.
        read: Reads the probabilities of an answer.
        expected: Right probabilities, `(requests, rows)`.
    """

    def __init__(self, ask: Ask, read: Probabilities, expected: np.ndarray) -> None:
        self._ask, self._read, self._expected = ask, read, expected
        self.times: list[float] = []
        self.wrong = 0

    async def once(self, i: int, start: float) -> None:
        """Ask request `i`; its time counts from `start`."""
        i %= len(self._expected)
        try:
            answer = self._read(await self._ask(i))
        except (grpc.RpcError, OSError, ValueError):
            self.wrong += 1
            return
        took = time.perf_counter() - start
        expected = self._expected[i]
        if answer.shape == expected.shape and (
            np.abs(answer - expected).max() < TOLERANCE
        ):
            self.times.append(took)
        else:
            self.wrong += 1

    async def run_closed_loop(self, concurrency: int, seconds: float) -> None:
        """Keep `concurrency` requests in flight."""
        end = time.perf_counter() + seconds

        async def worker(first: int) -> None:
            i = first
            while (now := time.perf_counter()) < end:
                await self.once(i, now)
                i += concurrency

        await asyncio.gather(*map(worker, range(concurrency)))

    async def run_open_loop(self, rate: float, seconds: float) -> None:
        """Send `rate` requests a second, at random times as visitors do.

        A request that had to wait for the sender waits from when it was due.
        """
        gaps = np.random.default_rng(0).exponential(1 / rate, round(rate * seconds))
        due = time.perf_counter() + np.cumsum(gaps)
        tasks = set()
        for i, when in enumerate(due.tolist()):
            if (wait := when - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            task = asyncio.create_task(self.once(i, when))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)


async def measure(command: LoadCommand) -> LoadResult:
    """Warm up, then measure."""
    with np.load(command.requests) as file:
        ends, raw = file["ends"].tolist(), file["bodies"].tobytes()
        expected = file["expected"]
    begins = [0, *ends[:-1]]
    bodies = [raw[begin:end] for begin, end in zip(begins, ends, strict=True)]
    if command.protocol == "grpc":
        options = [("grpc.max_receive_message_length", -1)]
        async with grpc.aio.insecure_channel(command.address, options) as channel:
            call = channel.unary_unary(PREDICT)

            async def ask(i: int) -> bytes:
                return await call(bodies[i])

            return await _measure(command, Load(ask, read_grpc, expected))
    pool = _Pool(command.address, command.concurrency)
    await pool.connect()

    async def post(i: int) -> bytes:
        return await pool.ask(bodies[i])

    return await _measure(command, Load(post, read_rest, expected))


async def _measure(command: LoadCommand, load: Load) -> LoadResult:
    await load.run_closed_loop(command.concurrency, WARM_UP_SECONDS)
    load.times.clear()
    wrong_before, start = load.wrong, time.perf_counter()
    if command.rate is None:
        await load.run_closed_loop(command.concurrency, command.seconds)
    else:
        await load.run_open_loop(command.rate, command.seconds)
    seconds = time.perf_counter() - start
    times = np.array(load.times or [np.nan]) * 1000
    p50, p99, p999 = np.percentile(times, [50, 99, 99.9]).tolist()
    return LoadResult(
        len(load.times),
        load.wrong - wrong_before,
        len(load.times) / seconds,
        p50,
        p99,
        p999,
    )


class _Pool:
    """HTTP connections that stay open; requests are written as the file has them."""

    def __init__(self, address: str, size: int) -> None:
        self._host, _, port = address.rpartition(":")
        self._port, self._size = int(port), size
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = (
            asyncio.Queue()
        )

    async def connect(self) -> None:
        """Open all connections."""
        for _ in range(self._size):
            self._free.put_nowait(
                await asyncio.open_connection(self._host, self._port, limit=2**24)
            )

    async def ask(self, request: bytes) -> bytes:
        """Send a whole HTTP request and read the answer's body."""
        reader, writer = connection = await self._free.get()
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r")[0])
            body = await reader.readexactly(length)
        finally:
            self._free.put_nowait(connection)
        if b" 200 " not in head[:16]:
            raise ValueError(body.decode())
        return body


def read_grpc(answer: bytes) -> np.ndarray:
    """Return the probabilities `(rows,)` of a `PredictResponse`."""
    response = predict_pb2.PredictResponse.FromString(answer)
    return np.array(response.outputs["probability"].float_val)


def read_rest(answer: bytes) -> np.ndarray:
    """Return the probabilities `(rows,)` of a REST answer by rows."""
    return np.array(json.loads(answer)["predictions"]).ravel()


def main() -> None:
    command = parse(LoadCommand, "benchmarks.runs.serving_load")
    sys.setswitchinterval(0.0005)
    print(json.dumps(asdict(uvloop.run(measure(command)))))


if __name__ == "__main__":
    run_command(main)
