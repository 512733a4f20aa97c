"""`python -m benchmarks.read`: rows a second from a data set to batches, with peers."""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from benchmarks.laboratory import machine
from benchmarks.laboratory.processes import answer_of
from benchmarks.laboratory.table import Cell, markdown
from benchmarks.runs.read_run import DESCRIPTIONS, ReadJob
from benchmarks.workload.raw_file import write_rows
from pipelines.prepare import prepare
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data.schema import RecordFormat


@dataclass(frozen=True)
class ReadBenchmark:
    """Time reading training rows by this project and by the usual ways.

    Each way has a process of its own, which reads one pass to warm up and then whole
    passes for some seconds. The rows have the columns and cardinalities of Criteo
    Kaggle; they are made once and kept. Leave the machine alone meanwhile.

    Args:
        rows: Raw rows, of which six in seven are training rows.
        batch_size: Rows of a batch.
        seconds: Time of each measurement, at least.
        work_dir: Directory that keeps the data sets; null means one among temporary
            files.
    """

    rows: int = 2_000_000
    batch_size: int = 2048
    seconds: float = 5.0
    work_dir: Path | None = None

    def __post_init__(self) -> None:
        for name in ("rows", "batch_size", "seconds"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} is {getattr(self, name)}, expected > 0")


def main(argv: Sequence[str] | None = None) -> None:
    """Make the data sets, measure each way of reading, print the table."""
    config = parse(ReadBenchmark, "benchmarks.read", argv, renamed={"data": "work_dir"})
    folder = config.work_dir or Path(tempfile.gettempdir()) / "tfdlrm-benchmark-read"
    raw = folder / f"kaggle-like-{config.rows}.tsv"
    write_rows(raw, config.rows)
    data_sets: dict[str, Path] = {}
    for record_format in get_args(RecordFormat):
        if record_format == "parquet" and find_spec("tensorflow_io") is None:
            print("Parquet is left out: no tensorflow-io here", file=sys.stderr)
            continue
        output = data_sets[record_format] = folder / f"{record_format}-{config.rows}"
        prepare([raw], output, PrepareConfig(record_format=record_format))
    print(f"## Reading a data set\n\n{machine.describe()}\n", flush=True)
    rows: list[list[Cell]] = []
    for way, description in DESCRIPTIONS.items():
        record_format, _, _ = way.partition("_")
        if record_format not in data_sets:
            continue
        directory = data_sets[record_format]
        job = ReadJob(way, directory, config.batch_size, config.seconds)
        answer = answer_of("runs.read_run", **vars(job))
        rate, peak = answer["rows_per_second"], answer["peak_gb"]
        print(f"{description}: {rate:,.0f} rows/s", file=sys.stderr, flush=True)
        ratio = rate / float(str(rows[0][1])) if rows else 1.0
        rows.append([description, rate, ratio, peak])
    print(markdown(["records, and how they are read", "rows/s", "ratio", "GB"], rows))


if __name__ == "__main__":
    run_command(main)
