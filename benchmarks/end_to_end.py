"""`python -m benchmarks.end_to_end`: compare training from files with the bare step."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.laboratory import machine
from benchmarks.laboratory.measurement import (
    Job,
    Measurement,
    Optimizer,
    StepTime,
    System,
)
from benchmarks.laboratory.processes import Laboratory
from benchmarks.laboratory.table import markdown
from benchmarks.workload.criteo_kaggle import vocabulary_sizes
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import require
from tfdlrm.plan import KAGGLE_ROWS

SYSTEMS: tuple[System, ...] = ("tfdlrm", "tfdlrm-files")


@dataclass(frozen=True)
class EndToEndConfig:
    """Time the loop of `python -m tfdlrm.train` and a bare `fit` of the same model.

    The first reads TFRecord shards and shuffles their rows, measures accuracy and AUC
    and looks at every loss; the second is given batches that are ready in memory, and
    measures nothing. Each runs in a process of its own, in turn. The share is that of
    an epoch of Criteo Kaggle, whose start counts. Leave the machine alone meanwhile.

    Args:
        optimizer: Optimizer.
        batch_size: Rows in a step.
        steps_per_execution: Steps in one call of the compiled function.
        table_scale: Factor of Criteo Kaggle's published vocabulary sizes.
        seconds: Time of each measurement, at least.
        repetitions: Measurements of each; their best counts.
        seed: Seed of the rows.
    """

    optimizer: Optimizer = "adagrad"
    batch_size: int = 2048
    steps_per_execution: tuple[int, ...] = (1, 16)
    table_scale: float = 1.0
    seconds: float = 10.0
    repetitions: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.repetitions >= 1, "repetitions", self.repetitions, ">= 1")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    config = parse(EndToEndConfig, "benchmarks.end_to_end", argv)
    laboratory = Laboratory([])
    print(f"## Training from files and the bare step\n\n{machine.describe()}\n")
    rows = sum(vocabulary_sizes(config.table_scale))
    print(f"{rows:,} table rows, {config.optimizer}, batch {config.batch_size:,}.\n")
    print(table(config, laboratory), flush=True)
    if laboratory.num_failed:
        sys.exit(f"{laboratory.num_failed} measurements failed")


def table(config: EndToEndConfig, laboratory: Laboratory) -> str:
    """Return a table of the best measurements from files and from memory."""
    rows = []
    for steps in config.steps_per_execution:
        jobs = [
            _job(config, system, steps, repetition)
            for repetition in range(config.repetitions)
            for system in SYSTEMS
        ]
        measurements = laboratory.measure(jobs)
        bare, files = _best(measurements[::2]), _best(measurements[1::2])
        epoch_steps = KAGGLE_ROWS / config.batch_size
        files_ms = files.ms + files.start_seconds * 1000 / epoch_steps
        rows.append((steps, bare.ms, files.ms, files.start_seconds, bare.ms / files_ms))
    return markdown(
        (
            "steps per execution",
            "bare ms/step",
            "from files ms/step",
            "start of an epoch s",
            "bare / files",
        ),
        rows,
    )


def _job(config: EndToEndConfig, system: System, steps: int, repetition: int) -> Job:
    return Job(
        system=system,
        optimizer=config.optimizer,
        batch_size=config.batch_size,
        steps_per_execution=steps,
        table_scale=config.table_scale,
        seconds=config.seconds,
        # A job is done once; with another seed it is another job.
        seed=config.seed + repetition,
    )


def _best(measurements: Sequence[Measurement]) -> StepTime:
    """Return the quickest step; its time is NaN where nothing was measured."""
    nan = float("nan")
    nothing = StepTime(ms=nan, steps=0, loss=nan, rss_gb=nan, start_seconds=nan)
    steps = [m.step for m in measurements if m.step]
    return min(steps, key=lambda step: step.ms, default=nothing)


if __name__ == "__main__":
    run_command(main)
