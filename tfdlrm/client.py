"""`python -m tfdlrm.client`: click probabilities of raw rows, from a server."""

import gzip
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

import numpy as np

from pipelines.progress import stage
from tfdlrm.command_line import parse, run_command
from tfdlrm.errors import InputError, require
from tfdlrm.output_file import STANDARD, check_output, messages_apart, output_file
from tfdlrm.piped_input import as_file
from tfdlrm.serving.raw_columns import are_criteos, in_order

if TYPE_CHECKING:
    from tfdlrm.serving.remote import RemoteModel


@dataclass(frozen=True)
class ClientCommand:
    """Score a file of raw rows with a model behind a server.

    Args:
        input: Tab-separated rows, plain or gzip, with or without a label in front: in
            Criteo's order, or with a head line of the columns' names. A pipe, or `-`
            for standard input, is kept in a temporary file first.
        output: CSV file to write: one probability a row, in the order of the input;
            `-` for standard output.
        server: Host and port.
        protocol: grpc for the port 8500 of a server, rest for its 8501.
        model_name: The model's name there.
        batch_size: Rows a request.
        concurrency: Requests at a time.
        retries: Further tries of a request that the server has no time for.
        timeout: Seconds to wait for an answer.
        ca_file: PEM of the authority that vouches for the server; turns TLS on.
        cert_file: PEM of a certificate that the server wants to see.
        key_file: PEM of its key.
    """

    input: Path
    output: Path
    server: str = "localhost:8500"
    protocol: Literal["grpc", "rest"] = "grpc"
    model_name: str = "dlrm"
    batch_size: int = 1024
    concurrency: int = 4
    retries: int = 6
    timeout: float = 30.0
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "concurrency"):
            require(getattr(self, name) >= 1, name, getattr(self, name), ">= 1")
        require(self.retries >= 0, "retries", self.retries, ">= 0")
        require(self.timeout > 0, "timeout", self.timeout, "> 0")
        is_there = self.input == STANDARD or self.input.exists()
        require(is_there, "input", self.input, "a file to score")
        check_output(
            "output",
            self.output,
            input=self.input,
            ca_file=self.ca_file,
            cert_file=self.cert_file,
            key_file=self.key_file,
        )
        given = [self.cert_file is None, self.key_file is None]
        if len(set(given)) > 1 or (self.cert_file and not self.ca_file):
            raise InputError("cert_file goes with key_file and ca_file")
        for path in self.tls:
            require(path.is_file(), "TLS file", path, "a file")

    @property
    def tls(self) -> list[Path]:
        """The PEM files that are given."""
        files = (self.ca_file, self.cert_file, self.key_file)
        return [path for path in files if path is not None]


def score_file(command: ClientCommand) -> int:
    """Write `command.output`, complete or not at all.

    Returns:
        The number of rows scored.

    Raises:
        InputError: If a row, the model or the server does not answer the purpose.
    """
    with as_file("input", command.input) as path:
        return _score_file(replace(command, input=path))


def _score_file(command: ClientCommand) -> int:
    from tfdlrm.serving.remote import GrpcModel, RestModel, with_retries

    where = (command.server, command.model_name, command.timeout, command.tls)
    model: RemoteModel = (
        GrpcModel(*where) if command.protocol == "grpc" else RestModel(*where)
    )
    tries = partial(with_retries, retries=command.retries, where=command.server)
    names = tries(model.columns)
    if not names:
        raise InputError(
            f"{command.model_name} at {command.server} does not take raw rows: it has "
            "no signature raw"
        )
    rows = 0
    with (
        output_file("output", command.output) as output,
        _opened(command.input) as (file, source),
        stage("score rows", command.input.stat().st_size) as advance,
    ):
        output.write(b"probability\n")
        batches = _batches(command, file, names)
        for probabilities in _scored(command, model, batches):
            np.savetxt(output, probabilities, fmt="%.9g")
            rows += len(probabilities)
            advance(source.tell(), rows)
    return rows


class _opened:  # noqa: N801
    """A file, and the file on disk that it is read from, which may be compressed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> tuple[BinaryIO, BinaryIO]:
        try:
            self._source = self._path.open("rb")
        except OSError as error:
            raise InputError(f"{self._path} cannot be read: {error.strerror}") from None
        is_gzip = self._source.peek(2)[:2] == b"\x1f\x8b"
        file = gzip.open(self._source) if is_gzip else self._source
        return cast(BinaryIO, file), self._source

    def __exit__(self, *exc: object) -> None:
        self._source.close()


def _batches(
    command: ClientCommand, file: BinaryIO, names: Sequence[str]
) -> Iterator[dict[str, list[bytes]]]:
    """Columns of `batch_size` rows each."""
    lines = enumerate(file, start=1)
    order = in_order(names)
    places: list[int] | None = None
    try:
        for batch in iter(lambda: list(islice(lines, command.batch_size)), []):
            rows = []
            for number, line in batch:
                fields = line.rstrip(b"\r\n").split(b"\t")
                if places is None:
                    places, is_head = _places(fields, order)
                    width = len(fields)
                    if not places:
                        raise InputError(
                            f"{command.input}, row {number}: {width} fields, expected "
                            f"{_expected(order)}"
                        )
                    if is_head:
                        continue
                if len(fields) != width:
                    raise InputError(
                        f"{command.input}, row {number}: {len(fields)} fields, "
                        f"expected {width} as in the first row"
                    )
                rows.append(fields)
            assert places is not None
            yield {
                name: [fields[place] for fields in rows]
                for name, place in zip(order, places, strict=True)
            }
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{command.input} is damaged: {error}") from None


def _places(fields: list[bytes], names: list[str]) -> tuple[list[int], bool]:
    """Where the columns are in a row, and whether the first row is a head line."""
    found = {field.decode(errors="replace"): i for i, field in enumerate(fields)}
    if all(name in found for name in names):
        return [found[name] for name in names], True
    first = len(fields) - len(names)
    if first not in (0, 1) or not are_criteos(names):
        return [], False
    return list(range(first, len(fields))), False


def _expected(names: list[str]) -> str:
    head = f"a head line with the names {', '.join(names)}"
    # The server tells names, and of other logs no order.
    return (
        f"{len(names)}, or a label and these, or {head}" if are_criteos(names) else head
    )


def _scored(
    command: ClientCommand,
    model: "RemoteModel",
    batches: Iterator[dict[str, list[bytes]]],
) -> Iterator[np.ndarray]:
    """Probabilities of the batches, in their order, several requests at a time."""
    from tfdlrm.serving.remote import with_retries

    waiting: deque[Future[np.ndarray]] = deque()
    with ThreadPoolExecutor(command.concurrency) as threads:
        try:
            for rows in batches:
                if not next(iter(rows.values())):
                    continue
                ask = partial(model.score, rows)
                waiting.append(
                    threads.submit(with_retries, ask, command.retries, command.server)
                )
                if len(waiting) > 2 * command.concurrency:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def main() -> None:
    command = parse(ClientCommand, "tfdlrm.client")
    with messages_apart(command.output):
        rows = score_file(command)
        print(f"Scored {rows:,} rows: {command.output}")


if __name__ == "__main__":
    run_command(main)
