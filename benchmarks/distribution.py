"""`python -m benchmarks.distribution`: several devices and workers, on this machine.

They share its cores, so that nothing here can become faster by being spread: what is
shown is what spreading costs, what goes over the wire, and what each device holds.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args

from benchmarks.laboratory import machine
from benchmarks.laboratory.loopback import start_workers
from benchmarks.laboratory.processes import ROOT
from benchmarks.laboratory.table import Cell, markdown
from benchmarks.runs.distributed_step import DistributedJob, DistributedTime, Tables
from benchmarks.workload.criteo_kaggle import EMBEDDING_DIM, vocabulary_sizes
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import InputError

MB = 1e6
FLOAT_BYTES = INDEX_BYTES = 4


@dataclass(frozen=True)
class DistributionConfig:
    """Time a training step of DLRM, Adagrad, on several devices and workers.

    Args:
        devices: Numbers of logical CPUs of the mirrored runs.
        workers: Numbers of processes of the multi-worker runs.
        batch_size: Rows in a step, over all devices and workers.
        table_scale: Factor of the published vocabulary sizes.
        steps: Steps measured.
    """

    devices: tuple[int, ...] = (2,)
    workers: tuple[int, ...] = (2, 3)
    batch_size: int = 2048
    table_scale: float = 0.1
    steps: int = 30


def jobs(config: DistributionConfig) -> list[tuple[int, DistributedJob]]:
    """Return pairs of a number of workers and the job of each of them."""

    alone = DistributedJob(
        batch_size=config.batch_size,
        table_scale=config.table_scale,
        steps=config.steps,
    )
    return [
        (1, alone),
        *(
            (1, replace(alone, strategy="mirrored", tables=tables, devices=number))
            for number in config.devices
            for tables in get_args(Tables)
        ),
        *(
            (number, replace(alone, strategy="multi_worker"))
            for number in config.workers
        ),
    ]


def step_file(source: Path) -> Path:
    """Return the file of a checkout that times a step; older ones have another one.

    Raises:
        InputError: If it has none.
    """
    for path in (source / "benchmarks").rglob("distributed_step.py"):
        return path
    raise InputError(
        f"{source} has no benchmarks/runs/distributed_step.py: expected a checkout of "
        "this project, as `git worktree add DIRECTORY COMMIT` makes one"
    )


def run(num_workers: int, job: DistributedJob, source: Path = ROOT) -> DistributedTime:
    """Do a job in `num_workers` processes and return the first one's measurement.

    Args:
        num_workers: Number of processes.
        job: Job of each of them.
        source: Checkout whose code they run.

    Raises:
        InputError: If one of them fails, with the last line that it printed.
    """
    options = [f"--{name}={value}" for name, value in asdict(job).items()]
    module = ".".join(step_file(source).relative_to(source).with_suffix("").parts)
    processes = start_workers(
        num_workers,
        ["-m", module, *options],
        cwd=source,
        source=source,
    )
    outputs = [process.communicate() for process in processes]
    for process, (_, stderr) in zip(processes, outputs, strict=True):
        if process.returncode:
            message = (stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError(f"{message} (in {job})")
    return DistributedTime(**json.loads(outputs[0][0].splitlines()[-1]))


def table(rows: Sequence[tuple[int, DistributedJob, DistributedTime]]) -> str:
    """Return the measurements, with the bytes of an exchange of whole tables."""
    header = (
        "strategy",
        "tables",
        "devices",
        "ms/step",
        "time vs one device",
        "MB sent a step by each worker",
        "MB of its ids and rows to all others",
        "MB if tables were dense",
        "MB of tables and state on a device",
    )
    alone = rows[0][2].ms
    lines: list[list[Cell]] = []
    for num_workers, job, result in rows:
        exchanges: list[Cell] = [None, None, None]
        if num_workers > 1:
            sizes = vocabulary_sizes(job.table_scale)
            num_others = num_workers - 1
            looked_up = job.batch_size // num_workers * len(sizes)
            row = INDEX_BYTES + FLOAT_BYTES * EMBEDDING_DIM
            dense = (
                2 * num_others / num_workers * sum(sizes) * FLOAT_BYTES * EMBEDDING_DIM
            )
            sent = None if result.sent is None else result.sent / MB
            exchanges = [sent, num_others * looked_up * row / MB, dense / MB]
        lines.append(
            [
                job.strategy,
                job.tables,
                max(num_workers, job.devices),
                result.ms,
                result.ms / alone,
                *exchanges,
                result.held / MB,
            ]
        )
    return markdown(header, lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure one after another, and print the table."""
    config = parse(DistributionConfig, "benchmarks.distribution", argv)
    rows = []
    for number, (num_workers, job) in enumerate(pending := jobs(config), start=1):
        title = f"{job.strategy}, tables {job.tables}"
        print(f"[{number}/{len(pending)}] {title}", file=sys.stderr, flush=True)
        rows.append((num_workers, job, run(num_workers, job)))
    sizes = sum(vocabulary_sizes(config.table_scale))
    print(f"## Several devices and workers on one machine\n\n{machine.describe()}\n")
    print(f"{sizes:,} table rows, batch {config.batch_size:,}, Adagrad.\n")
    print(table(rows))


if __name__ == "__main__":
    run_command(main)
