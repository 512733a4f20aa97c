"""`python -m benchmarks.table_sizes`: a step of each strategy by the size of tables.

A step names a batch of rows, so its time may grow with the batch and not with the
tables. Some growth remains: with larger tables a batch has more distinct rows, and
fewer of them are in a cache. `default`, one device, shows how much.
"""

import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from benchmarks.distribution import FLOAT_BYTES, MB, run, step_file
from benchmarks.laboratory import machine
from benchmarks.laboratory.processes import ROOT
from benchmarks.laboratory.table import Cell, markdown
from benchmarks.runs.distributed_step import DistributedJob, Strategy
from benchmarks.workload.criteo_kaggle import EMBEDDING_DIM, vocabulary_sizes
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import InputError

REPLICAS = 2


@dataclass(frozen=True)
class TableSizesConfig:
    """Time a training step of two devices and of two workers by the size of the tables.

    The tables are Criteo Kaggle's, scaled, and the optimizer is Adagrad.

    Args:
        strategies: As of `tfdlrm.train`; `mirrored` has two logical CPUs,
            `multi_worker` two processes.
        table_mb: Sizes of all tables together, in 10^6 bytes.
        before: A checkout of another version, measured in turn with this one.
        rounds: Measurements of each step; the median counts.
        batch_size: Rows in a step, over all devices and workers.
        steps: Steps of each measurement.
    """

    strategies: tuple[Strategy, ...] = ("default", "mirrored", "multi_worker")
    table_mb: tuple[float, ...] = (17, 83, 166, 832)
    before: Path | None = None
    rounds: int = 3
    batch_size: int = 2048
    steps: int = 20

    def __post_init__(self) -> None:
        for name in ("strategies", "table_mb"):
            if not getattr(self, name):
                raise InputError(f"{name} is empty, expected one value or more")
        for name in ("rounds", "batch_size", "steps"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, expected >= 1")
        if min(self.table_mb) <= 0:
            raise InputError(f"table_mb has {min(self.table_mb):g}, expected > 0")
        if self.before is not None:
            step_file(self.before)

    @property
    def versions(self) -> list[Path]:
        """Checkouts to measure, the other one first."""
        return [ROOT] if self.before is None else [self.before.resolve(), ROOT]


Key = tuple[Strategy, float]
"""A strategy and the size of its tables."""


def scale_of(table_mb: float) -> float:
    """Return the factor of the published sizes that makes tables of `table_mb`."""
    row_bytes = FLOAT_BYTES * EMBEDDING_DIM
    return table_mb * MB / (sum(vocabulary_sizes(1.0)) * row_bytes)


def measure(config: TableSizesConfig) -> dict[Path, dict[Key, float]]:
    """Return the milliseconds of a step of each version, strategy and size.

    They are NaN where every measurement failed.

    Rounds are the outermost loop and versions the innermost one, so that other work of
    the machine affects all of them alike.
    """
    keys = list(product(config.strategies, config.table_mb))
    times: dict[Path, dict[Key, list[float]]] = {
        version: {key: [] for key in keys} for version in config.versions
    }
    runs = list(product(range(config.rounds), keys, config.versions))
    for number, (_, (strategy, table_mb), version) in enumerate(runs, start=1):
        title = f"{strategy}, tables of {table_mb:g} MB, {version.name}"
        print(f"[{number}/{len(runs)}] {title}", end=": ", file=sys.stderr, flush=True)
        job = DistributedJob(
            strategy=strategy,
            devices=REPLICAS if strategy == "mirrored" else 1,
            batch_size=config.batch_size,
            table_scale=scale_of(table_mb),
            steps=config.steps,
        )
        num_workers = REPLICAS if strategy == "multi_worker" else 1
        try:
            ms = run(num_workers, job, version).ms
        except InputError as error:  # the other measurements stay
            print(f"failed: {error}", file=sys.stderr, flush=True)
            continue
        print(f"{ms:.1f} ms", file=sys.stderr, flush=True)
        times[version][strategy, table_mb].append(ms)
    return {
        version: {key: _median(ms) for key, ms in by_key.items()}
        for version, by_key in times.items()
    }


def _median(times: Sequence[float]) -> float:
    return statistics.median(times) if times else math.nan


def table(now: Mapping[Key, float], before: Mapping[Key, float] | None) -> str:
    """Return the steps as a Markdown table.

    Args:
        now: Milliseconds of a step by strategy and size of the tables.
        before: The same of another version.
    """
    header = ["strategy", "MB of tables", "ms/step", "vs smallest"]
    if before is not None:
        header += ["ms/step before", "vs smallest before", "before / now"]
    rows: list[Sequence[Cell]] = []
    for strategy, table_mb in now:
        key = strategy, table_mb
        smallest = strategy, min(size for name, size in now if name == strategy)
        row: list[Cell] = [
            strategy,
            table_mb,
            now[key],
            now[key] / now[smallest],
        ]
        if before is not None:
            past = before[key]
            row += [past, past / before[smallest], past / now[key]]
        rows.append(row)
    return markdown(header, rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure in turn, and print the table."""
    config = parse(TableSizesConfig, "benchmarks.table_sizes", argv)
    times = measure(config)
    before = times[config.versions[0]] if config.before is not None else None
    print(f"## A step by the size of its tables\n\n{machine.describe()}\n")
    print(f"Batch {config.batch_size:,}, Adagrad, medians of {config.rounds}.\n")
    print(table(times[ROOT], before))
    if any(math.isnan(ms) for by_key in times.values() for ms in by_key.values()):
        sys.exit("some measurements failed: see above")


if __name__ == "__main__":
    run_command(main)
