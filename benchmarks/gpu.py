"""`python -m benchmarks.gpu`: a training step on a GPU, and PyTorch's next to it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal, get_args

from benchmarks.laboratory import machine, measurement
from benchmarks.laboratory.gpu_report import ceilings_table, device_line, steps_table
from benchmarks.laboratory.measurement import CPU, Job, Optimizer, Tables
from benchmarks.laboratory.processes import Laboratory, run_job
from benchmarks.workload.criteo_kaggle import flops_per_sample, vocabulary_sizes
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import InputError

System = Literal["tfdlrm", "torch"]
Precision = Literal["tf32", "float32", "bfloat16"]

IN_BFLOAT16: dict[measurement.System, measurement.System] = {
    "tfdlrm": "tfdlrm-bf16",
    "torch": "torch-bf16",
    "ceiling": "ceiling-bf16",
}


@dataclass(frozen=True)
class GpuConfig:
    """Time a training step on a GPU by rows, precision and place of the tables.

    The model is DLRM with Criteo Kaggle's architecture and tables. Every measurement
    runs in a process of its own, one after another; leave the machine alone meanwhile.

    Args:
        systems: What to measure: this project, and PyTorch's `EmbeddingBag` where it
            is installed.
        batch_sizes: Rows in a step.
        precisions: `tf32` is float32 whose products may round their factors to TF32,
            TensorFlow's own setting; `float32` forbids it; `bfloat16` is mixed.
        tables: Where tables and their state lie: in the GPU's memory or the machine's.
        optimizer: Optimizer.
        steps_per_execution: Steps in one call of this project's compiled function.
        table_scale: Factor of the published vocabulary sizes.
        seconds: Time of each measurement, at least.
        min_steps: Steps of each measurement, at least.
        minutes: Time for all of them; what it does not reach is left out.
        seed: Seed of the rows.
    """

    systems: tuple[System, ...] = get_args(System)
    batch_sizes: tuple[int, ...] = (2048, 8192, 65536)
    precisions: tuple[Precision, ...] = get_args(Precision)
    tables: tuple[Tables, ...] = get_args(Tables)
    optimizer: Optimizer = "adagrad"
    steps_per_execution: int = 16
    table_scale: float = 1.0
    seconds: float = 2.0
    min_steps: int = 16
    minutes: float = 9.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("systems", "batch_sizes", "precisions", "tables"):
            if not getattr(self, name):
                raise InputError(f"{name} is empty, expected one value or more")
        if self.minutes <= 0:
            raise InputError(f"minutes is {self.minutes:g}, expected > 0")


def ceiling_jobs(config: GpuConfig) -> list[Job]:
    """Return jobs of large matrix products, which no step can be faster than."""
    return [
        _in_precision(Job.with_settings("ceiling", config), p)
        for p in config.precisions
    ]


def step_jobs(config: GpuConfig) -> list[Job]:
    """Return the steps in the order of the table's rows; a peer's follows ours."""
    return [
        replace(
            _in_precision(Job.with_settings(system, config), precision),
            optimizer=config.optimizer,
            batch_size=batch_size,
            steps_per_execution=config.steps_per_execution if system == "tfdlrm" else 1,
            tables=tables,
        )
        for tables, batch_size, precision, system in product(
            config.tables, config.batch_sizes, config.precisions, config.systems
        )
    ]


def _in_precision(job: Job, precision: Precision) -> Job:
    if precision == "bfloat16":
        return replace(job, system=IN_BFLOAT16[job.system])
    return replace(job, tf32=precision == "tf32")


def without_tf32(config: GpuConfig) -> GpuConfig:
    """Return the settings for a CPU, which has no TF32."""
    precisions = tuple(p for p in config.precisions if p != "tf32")
    return replace(config, precisions=precisions or ("float32",))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print the tables."""
    config = parse(GpuConfig, "benchmarks.gpu", argv)
    memory = run_job(Job.with_settings("bandwidth", config))
    if memory.device == CPU:
        config = without_tf32(config)
    rows = sum(vocabulary_sizes(config.table_scale))
    print(f"## Training step of DLRM on a GPU\n\n{machine.describe()}\n")
    print(device_line(memory))
    print(f"\n{rows:,} table rows; {flops_per_sample():,} operations a sample.")
    laboratory = Laboratory([*ceiling_jobs(config), *step_jobs(config)], config.minutes)
    ceilings = [memory, *laboratory.measure(ceiling_jobs(config))]
    print(f"\n{ceilings_table(ceilings)}", flush=True)
    steps = laboratory.measure(step_jobs(config))
    print(f"\n{steps_table(steps, ceilings)}")
    if num_failed := laboratory.num_failed + memory.is_failure:
        sys.exit(f"{num_failed} measurements failed: see the notes")


if __name__ == "__main__":
    run_command(main)
