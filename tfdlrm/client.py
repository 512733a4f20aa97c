"""`python -m tfdlrm.client`: score raw rows with a model behind a server."""

import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl

from pipelines.logs.bad_rows import BadRowError
from pipelines.logs.kept_columns import select_kept
from pipelines.logs.rows_to_score import RowsToScore, Texts, as_texts
from pipelines.logs.scored_rows import check_keep, scored_rows
from pipelines.logs.text_faults import UNDESCRIBED
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import InputError, require
from tfdlrm.base.output_file import STANDARD, check_output, messages_apart
from tfdlrm.base.piped_input import as_file
from tfdlrm.base.plain_text import visible
from tfdlrm.base.progress import stage
from tfdlrm.serving.client_rows import ClientRows, client_rows
from tfdlrm.serving.remote_counts import RemoteCounts

if TYPE_CHECKING:
    from tfdlrm.serving.remote import RemoteModel, Scores


@dataclass(frozen=True)
class Batch:
    """The rows of one request.

    Args:
        texts: What is sent.
        kept: The columns that are written next to the scores.
    """

    texts: Texts
    kept: list[pl.Series]


Batches = Iterator[Batch]

RENAMED = {"input": "raw", "output": "output_file"}
SUBJECTS = {
    "most used": (
        "raw",
        "output_file",
        "server",
        "protocol",
        "model_name",
        "columns",
        "keep",
        "batch_size",
        "concurrency",
        "timeout",
    ),
    "failures": ("retries",),
    "TLS": ("ca_file", "cert_file", "key_file"),
}


@dataclass(frozen=True)
class ClientCommand:
    """Score a file of raw rows with a model behind a server.

    Args:
        raw: Raw file, or a folder of such files, as tfdlrm.predict takes it. Without
            columns: Criteo's format, or text with the columns' names in a head line,
            separated by tabs or commas, without quotes and escapes. A pipe, or `-`
            for standard input, is kept in a temporary file first.
        output_file: File to write: one probability a row, in the order of the log, as
            text with the log's separator and quotes, or as Parquet if the name ends in
            .parquet; `-` for standard output.
        server: Host and port.
        protocol: grpc for a server's port 8500, rest for its port 8501.
        model_name: Name of the model on the server.
        batch_size: Rows in a request.
        concurrency: Requests in progress at a time.
        retries: Further tries of a request while the server is busy or not there.
        timeout: Seconds to wait for an answer.
        ca_file: PEM of the authority that signed the server's certificate; turns on
            TLS.
        cert_file: PEM of the client's certificate, for a server that requires one.
        key_file: PEM of its key.
        columns: The YAML file that the model's data set was prepared with.
        keep: Columns of the log to write before the probabilities, in this order, such
            as `user,item`; also columns that the model does not take.
    """

    raw: Path
    output_file: Path
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
    columns: Path | None = None
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("batch_size", "concurrency"):
            require(getattr(self, name) >= 1, name, getattr(self, name), ">= 1")
        require(self.retries >= 0, "retries", self.retries, ">= 0")
        require(self.timeout > 0, "timeout", self.timeout, "> 0")
        check_keep(self.keep)
        is_there = self.raw == STANDARD or self.raw.exists()
        require(is_there, "raw", self.raw, "a file to score")
        check_output(
            "output_file",
            self.output_file,
            raw=self.raw,
            columns=self.columns,
            ca_file=self.ca_file,
            cert_file=self.cert_file,
            key_file=self.key_file,
        )
        has_pair = (self.cert_file is None) == (self.key_file is None)
        if not has_pair or (self.cert_file and not self.ca_file):
            raise InputError("cert_file goes with key_file and ca_file")
        for path in self.tls:
            require(path.is_file(), "TLS file", path, "a file")

    @property
    def tls(self) -> list[Path]:
        """The PEM files that the command names."""
        files = (self.ca_file, self.cert_file, self.key_file)
        return [path for path in files if path is not None]


def score_file(command: ClientCommand) -> int:
    """Write `command.output_file`, complete or not at all.

    Returns:
        The number of rows scored.

    Raises:
        InputError: If a row cannot be read, or the model or the server cannot be used.
    """
    with as_file("raw", command.raw) as path:
        return _score_file(replace(command, raw=path))


def _score_file(command: ClientCommand) -> int:
    from tfdlrm.serving.remote import with_retries
    from tfdlrm.serving.remote_grpc import GrpcModel
    from tfdlrm.serving.remote_rest import RestModel

    address = (command.server, command.model_name, command.timeout, command.tls)
    model: RemoteModel = (
        GrpcModel(*address) if command.protocol == "grpc" else RestModel(*address)
    )
    tries = partial(with_retries, retries=command.retries, where=command.server)
    names = tries(model.columns)
    if not names:
        raise InputError(
            f"{command.model_name} at {command.server} does not take raw rows: it has "
            "no signature raw"
        )
    coverage = tries(model.coverage)
    rows = client_rows(command.raw, names, command.columns)
    counts = RemoteCounts(coverage, rows.separators)
    read, num_rows = rows.read(command.raw, command.keep), 0
    with (
        scored_rows("output_file", command.output_file, command.keep) as output,
        stage("score rows", read.num_bytes) as advance,
    ):
        for batch, scores in _score(command, model, _batches(command, rows, read)):
            output.write(batch.kept, scores.probabilities, read.style)
            counts.add(batch.texts, scores)
            num_rows += len(scores.probabilities)
            advance(read.bytes_read, num_rows)
    for line in counts.report():
        print(visible(line), file=sys.stderr)
    return num_rows


def _batches(command: ClientCommand, rows: ClientRows, read: RowsToScore) -> Batches:
    """Yield the columns of `batch_size` rows at a time."""
    try:
        for frame in read:
            for batch in frame.iter_slices(command.batch_size):
                kept = select_kept(batch, command.keep)
                yield Batch(as_texts(batch, rows.columns), kept)
    except BadRowError as error:
        if error.row.kind == UNDESCRIBED:  # a description is missing, the row is right
            raise InputError(str(error.row)) from None
        raise


def _score(
    command: ClientCommand,
    model: "RemoteModel",
    batches: Batches,
) -> "Iterator[tuple[Batch, Scores]]":
    """Yield the batches and their scores in order; ask for several at a time."""
    from tfdlrm.serving.remote import with_retries

    waiting: deque[tuple[Batch, Future[Scores]]] = deque()
    with ThreadPoolExecutor(command.concurrency) as threads:
        try:
            for rows in batches:
                ask = partial(model.score, rows.texts)
                future = threads.submit(
                    with_retries, ask, command.retries, command.server
                )
                waiting.append((rows, future))
                if len(waiting) > 2 * command.concurrency:
                    batch, future = waiting.popleft()
                    yield batch, future.result()
            while waiting:
                batch, future = waiting.popleft()
                yield batch, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def main() -> None:
    command = parse(ClientCommand, "tfdlrm.client", renamed=RENAMED, subjects=SUBJECTS)
    with messages_apart(command.output_file):
        rows = score_file(command)
        print(f"Scored {rows:,} rows: {command.output_file}")


if __name__ == "__main__":
    run_command(main)
