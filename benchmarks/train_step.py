"""`python -m benchmarks.train_step`: a training step of this DLRM and of its peers."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal, get_args

from benchmarks.laboratory import machine
from benchmarks.laboratory.measurement import Job, Measurement, Optimizer, StepSystem
from benchmarks.laboratory.processes import Laboratory
from benchmarks.laboratory.report import (
    ceiling_rates,
    ceilings_table,
    scales_table,
    steps_table,
)
from benchmarks.workload.criteo_kaggle import flops_per_sample, vocabulary_sizes
from tfdlrm.base import storage
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import InputError

System = Literal[StepSystem, "ceiling"]


@dataclass(frozen=True)
class TrainStepConfig:
    """Time a training step of DLRM with Criteo Kaggle's architecture and tables.

    Every measurement runs in a process of its own, one after another. Leave the
    machine alone meanwhile.

    Args:
        systems: What to measure. `tfdlrm` and `tfdlrm-bf16` are this project in float32
            and mixed bfloat16, `keras` is stock Keras 3, `tfrs` TensorFlow Recommenders
            on Keras 2, `torch` plain PyTorch; `products` and `products-bf16` are the
            step's matrix products alone, `ceiling` large matrix products.
        optimizers: Optimizers.
        batch_sizes: Rows in a step.
        steps_per_execution: Steps in one call of a compiled function, for the systems
            that have such a setting: all but `torch`.
        table_scale: Factor of the published vocabulary sizes.
        smaller_tables: Factor of table_scale for the last table, which compares steps
            with large and with small tables; null leaves it out.
        seconds: Time of each measurement, at least.
        min_steps: Steps of each measurement, at least.
        seed: Seed of the rows.
        output_file: File for the measurements as JSON; null means none.
    """

    systems: tuple[System, ...] = get_args(System)
    optimizers: tuple[Optimizer, ...] = ("sgd", "adagrad")
    batch_sizes: tuple[int, ...] = (128, 2048, 8192)
    steps_per_execution: tuple[int, ...] = (1, 16)
    table_scale: float = 1.0
    smaller_tables: float | None = 0.01
    seconds: float = 5.0
    min_steps: int = 20
    seed: int = 0
    output_file: Path | None = None

    def __post_init__(self) -> None:
        for name in ("systems", "optimizers", "batch_sizes", "steps_per_execution"):
            if not getattr(self, name):
                raise InputError(f"{name} is empty, expected one value or more")
        if self.smaller_tables is not None and not 0 < self.smaller_tables < 1:
            raise InputError(
                f"smaller_tables is {self.smaller_tables}, expected in (0, 1) or null"
            )


@dataclass(frozen=True)
class Plan:
    """The jobs behind each table.

    Args:
        ceilings: Matrix products.
        steps: Training steps of each batch size, in the order of the table's rows.
        large_tables: Steps of the last table.
        small_tables: The same with small tables.
    """

    ceilings: list[Job]
    steps: dict[int, list[Job]]
    large_tables: list[Job]
    small_tables: list[Job]

    @property
    def jobs(self) -> list[Job]:
        """All jobs; some may be there twice."""
        steps = chain.from_iterable(self.steps.values())
        return [*self.ceilings, *steps, *self.large_tables, *self.small_tables]


def plan(config: TrainStepConfig) -> Plan:
    """Return all that is to be measured."""
    large_tables = _scale_jobs(config) if config.smaller_tables else []
    small_scale = config.table_scale * (config.smaller_tables or 1)
    return Plan(
        ceilings=[
            Job.with_settings("ceiling", config),
            Job.with_settings("ceiling-bf16", config),
        ]
        if "ceiling" in config.systems
        else [],
        steps={size: _step_jobs(config, size) for size in config.batch_sizes},
        large_tables=large_tables,
        small_tables=[replace(job, table_scale=small_scale) for job in large_tables],
    )


def _step_jobs(config: TrainStepConfig, batch_size: int) -> list[Job]:
    return [
        replace(
            Job.with_settings(system, config),
            optimizer=optimizer,
            batch_size=batch_size,
            steps_per_execution=steps,
        )
        for optimizer in config.optimizers
        for system in config.systems
        if system != "ceiling"
        for steps in (config.steps_per_execution if system != "torch" else (1,))
    ]


def _scale_jobs(config: TrainStepConfig) -> list[Job]:
    sizes, optimizers = config.batch_sizes, config.optimizers
    return [
        replace(
            Job.with_settings(system, config),
            optimizer="adagrad" if "adagrad" in optimizers else optimizers[0],
            batch_size=2048 if 2048 in sizes else sizes[0],
            steps_per_execution=config.steps_per_execution[0],
        )
        for system in config.systems
        if system in ("tfdlrm", "keras")
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print each table as soon as it is complete."""
    config = parse(
        TrainStepConfig,
        "benchmarks.train_step",
        argv,
        renamed={"json_file": "output_file"},
    )
    planned = plan(config)
    laboratory = Laboratory(planned.jobs)
    rows = sum(vocabulary_sizes(config.table_scale))
    _print("Training step of DLRM, Criteo Kaggle architecture", machine.describe())
    print(f"\n{rows:,} table rows; {flops_per_sample():,} operations a sample.")
    ceilings = laboratory.measure(planned.ceilings)
    if ceilings:
        _print("Ceiling: large matrix products", ceilings_table(ceilings))
    for batch_size, jobs in planned.steps.items():
        if jobs:
            table = steps_table(laboratory.measure(jobs), ceiling_rates(ceilings))
            _print(f"Batch size {batch_size:,}", table)
    if planned.large_tables:
        large, small = planned.large_tables, planned.small_tables
        table = scales_table(laboratory.measure(large), laboratory.measure(small))
        job = large[0]
        _print(
            f"Step time by table size, {job.optimizer}, batch {job.batch_size:,}", table
        )
    if config.output_file is not None:
        _write_json(config.output_file, list(laboratory.done.values()))
    if laboratory.num_failed:
        sys.exit(f"{laboratory.num_failed} measurements failed: see the notes")


def _print(title: str, body: str) -> None:
    print(f"\n## {title}\n\n{body}", flush=True)


def _write_json(path: Path, measurements: list[Measurement]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    contents = {
        "machine": machine.describe(),
        "measurements": [asdict(measurement) for measurement in measurements],
    }
    storage.replace_text(path, json.dumps(contents, indent=2) + "\n")


if __name__ == "__main__":
    run_command(main)
