"""`python -m tfdlrm.plan`: the needs of a training run, before it begins."""

import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tfdlrm.base import storage
from tfdlrm.base.byte_size import format_byte_size, parse_byte_size
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.device_names import unseen_gpus
from tfdlrm.base.errors import require
from tfdlrm.base.plain_text import markdown
from tfdlrm.config import OptimizerConfig, TrainConfig
from tfdlrm.config.help_subjects import PLAN
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.planning.advice import Memory, memory_here, require_memory
from tfdlrm.planning.machine_memory import UNKNOWN
from tfdlrm.planning.memory_plan import MemoryPlan, table_state

KAGGLE_ROWS = 39_291_954
"""Training rows of Criteo Kaggle, those of six days."""

SHARE_OF_CEILING = ((128, 0.33), (2048, 0.55), (8192, 0.6))
"""Share of the speed of large matrix products that a training step on a CPU reaches, by
batch size; see docs/performance.md."""


@dataclass(frozen=True)
class PlanCommand(TrainConfig):
    """Print the memory, disk space and time of a training run, without running it.

    It has all settings of `tfdlrm.train`. Without data_dir, the columns, vocabulary
    sizes and rows are those published of Criteo Kaggle. A run that cannot fit is
    refused with status 2, and with settings that would fit.

    Args:
        vocabulary_sizes: Number of ids of each categorical feature, instead of those of
            a data set.
        rows: Number of training rows, instead of those of a data set.
        memory: Memory for the run, such as `16GB`; null means the free memory of this
            machine.
        num_devices: GPUs of each machine that trains; null means those of this one.
            With strategy multi_worker, TF_CONFIG names the machines.
        device_memory: Memory of each GPU, such as `80GB`; null means that of this
            machine's GPUs.
        samples_per_second: Training speed in rows a second, if it is known; null
            estimates it from a matrix product that is timed now.
    """

    vocabulary_sizes: tuple[int, ...] | None = None
    rows: int | None = None
    memory: str | None = None
    num_devices: int | None = None
    device_memory: str | None = None
    samples_per_second: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("rows", "num_devices"):
            value = getattr(self, name)
            require(value is None or value >= 0, name, value, ">= 0")
        speed = self.samples_per_second
        require(speed is None or speed > 0, "samples_per_second", speed, "> 0")
        for size in self.vocabulary_sizes or ():
            require(size >= 1, "vocabulary_sizes", self.vocabulary_sizes, ">= 1 each")
        self._check_devices()

    def _check_devices(self) -> None:
        """Refuse GPUs that the run would not use."""
        number = self.num_devices
        is_used = self.strategy != "default" or (number or 0) <= 1
        expected = "1 at most with strategy default: add --strategy mirrored"
        require(is_used, "num_devices", number, expected)
        is_used = self.device_memory is None or number != 0
        require(is_used, "device_memory", self.device_memory, "none with num_devices 0")


def plan(command: PlanCommand) -> str:
    """Return the needs of a run, as Markdown.

    Args:
        command: The settings of the run and the available memory.
    """
    schema = data_schema(command)
    num_rows = training_rows(command, schema)
    memory = memory_for(command)
    needs = memory.plan(schema, command)
    parts = [
        f"# Plan: {command.model.name}, {command.optimizer.name}, "
        f"batch size {command.batch_size:,}, {command.precision}",
        f"Columns and rows: {_source(command)}.",
        tables_of(needs, command.optimizer),
        memory_of(needs, memory),
        disk_of(needs, command),
        time_of(needs, command, num_rows),
    ]
    return "\n\n".join(parts)


def _source(command: PlanCommand) -> str:
    if command.vocabulary_sizes is not None:
        return "as stated"
    source = str(command.data_dir or "those published of Criteo Kaggle")
    return source if command.rows is None else f"{source}, but rows as stated"


def data_schema(command: PlanCommand) -> FeatureSchema:
    """Return the columns for which the model is sized."""
    if command.vocabulary_sizes is None and command.data_dir is not None:
        return FeatureSchema.load(command.data_dir)
    from pipelines.twin.features import KAGGLE_VOCABULARY_SIZES, NUM_DENSE

    sizes = command.vocabulary_sizes or KAGGLE_VOCABULARY_SIZES
    return FeatureSchema(
        dense_features=tuple(f"I{i + 1}" for i in range(NUM_DENSE)),
        categorical_features=tuple(
            CategoricalFeature(f"C{i + 1}", size) for i, size in enumerate(sizes)
        ),
    )


def training_rows(command: PlanCommand, schema: FeatureSchema) -> int:
    """Return the rows of an epoch."""
    if command.rows is not None:
        return command.rows
    return schema.num_rows("train") or KAGGLE_ROWS


def memory_for(command: PlanCommand) -> Memory:
    """Return the memory for the run: as the command says, or of this machine."""
    memory = memory_here(command.strategy, command.num_devices)
    if command.memory is not None:
        memory = replace(memory, host=parse_byte_size(command.memory, "memory"))
    if command.device_memory is not None:
        device = parse_byte_size(command.device_memory, "device_memory")
        number = memory.num_devices or 1
        memory = replace(memory, device=device, num_devices=number)
    return memory


def tables_of(needs: MemoryPlan, optimizer: OptimizerConfig) -> str:
    """Return the number of parameters and the bytes of each table, as Markdown."""
    size = needs.size
    lines = [
        f"{size.parameters:,} parameters, {size.layers.parameters:,} not in tables",
        "",
        "| table | rows | width | weights | optimizer state |",
        "| ----- | ---: | ----: | ------: | --------------: |",
    ]
    for table in size.tables:
        weights = format_byte_size(4 * table.parameters)
        state = format_byte_size(table_state(table, optimizer))
        name = markdown(table.name)
        lines.append(f"| {name} | {table.rows:,} | {table.dim} | {weights} | {state} |")
    return "\n".join(lines)


def memory_of(needs: MemoryPlan, memory: Memory) -> str:
    """Return the uses of memory and the available memory, as a Markdown table."""
    tables = device = "each GPU" if needs.num_devices else "host"
    if needs.num_devices and needs.placement != "replicated":
        tables = "host" if needs.placement == "host" else "all GPUs together"
    second_copy = "the tables once more, to measure and export"
    lines = ["| memory | where | bytes |", "| ------ | ----- | ----: |"]
    for memory_name, use, num_bytes in (
        (tables, "tables", needs.tables),
        (tables, "optimizer state of the tables", needs.table_state),
        (tables, "which rows have changed, for checkpoints", needs.changed_rows),
        (device, "other weights, gradients and state", needs.layers),
        (device, "activations and their gradients", needs.activations),
        ("host", "rows read ahead and shuffled", needs.input),
        ("host", "copies of what is written to checkpoints", needs.checkpoint),
        *([("host", second_copy, needs.whole_tables)] if needs.whole_tables else []),
        ("host", "TensorFlow and the process", needs.runtime),
    ):
        lines.append(f"| {use} | {memory_name} | {format_byte_size(num_bytes)} |")
    if needs.num_devices:
        is_known = memory.device != UNKNOWN
        available = format_byte_size(memory.device) if is_known else "unknown"
        lines.append(
            f"| together, of {available} | each of {needs.num_devices} GPUs | "
            f"{format_byte_size(needs.device)} |"
        )
    total = format_byte_size(needs.host)
    lines.append(f"| together, of {format_byte_size(memory.host)} | host | {total} |")
    return "\n".join(lines)


def disk_of(needs: MemoryPlan, command: PlanCommand) -> str:
    """Return the disk space of checkpoints and the exported model, in words."""
    file_bytes, number = needs.checkpoint_file, command.checkpoints.keep
    file, files, model = (
        format_byte_size(num_bytes)
        for num_bytes in (
            file_bytes,
            (number + 1) * file_bytes,
            4 * needs.size.parameters,
        )
    )
    text = (
        f"A checkpoint is {file} on disk; {number} are kept while one more is written: "
        f"{files}. The exported model is {model}{_keras_file(needs)}."
    )
    run_dir = command.run_dir or Path("runs")
    if storage.is_remote(run_dir):
        return text
    while not run_dir.exists():
        run_dir = run_dir.parent
    free = format_byte_size(shutil.disk_usage(run_dir).free)
    return f"{text} Free there: {free}."


def _keras_file(needs: MemoryPlan) -> str:
    """Return the size of the run's model.keras, which large models do not have."""
    if not needs.keras_file:
        return ""
    return f", model.keras in the run {format_byte_size(needs.keras_file)}"


def time_of(needs: MemoryPlan, command: PlanCommand, num_rows: int) -> str:
    """Return samples a second and the time of the training, in words."""
    rate, source = command.samples_per_second, "as stated"
    if rate is None:
        if needs.num_devices:
            return (
                f"{num_rows:,} rows an epoch. Time: not estimated for GPUs; give "
                "--samples_per_second."
            )
        gflops = matrix_gflops()
        share = share_of_ceiling(command.batch_size)
        rate = share * gflops * 1e9 / max(1, needs.size.operations)
        source = (
            f"an estimate: {share:.0%} of the {gflops:,.0f} GFLOP/s that a matrix "
            "product reached just now, without look-ups and input; expect it within a "
            "factor of two"
        )
    seconds = num_rows * command.epochs / rate
    return (
        f"{num_rows:,} rows an epoch, {command.epochs} epoch(s): "
        f"{duration(seconds)} at {rate:,.0f} samples/s ({source})."
    )


def share_of_ceiling(batch_size: int) -> float:
    """Return the share of the speed of matrix products that a step reaches."""
    sizes, shares = zip(*SHARE_OF_CEILING, strict=True)
    return float(np.interp(np.log(batch_size), np.log(sizes), shares))


def matrix_gflops(size: int = 2048, seconds: float = 1.0) -> float:
    """Measure the 10^9 operations a second of float32 matrix products here."""
    rng = np.random.default_rng(0)
    left, right = (rng.random((size, size), np.float32) for _ in range(2))
    left @ right  # the first product starts threads
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        left @ right
        calls += 1
    return 2 * size**3 * calls / (time.perf_counter() - start) / 1e9


def duration(seconds: float) -> str:
    """Format seconds for people.

    Example:

    >>> duration(42), duration(5000), duration(200_000)
    ('42 s', '83 min', '55.6 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 120 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def main() -> None:
    command = parse(PlanCommand, "tfdlrm.plan", subjects=PLAN)
    print(plan(command))
    warning = unseen_gpus() if command.num_devices is None else None
    if warning:  # the plan is for the CPU
        print(f"warning: {warning}", file=sys.stderr)
    schema, memory = data_schema(command), memory_for(command)
    # Stated sizes are those of another data set.
    data_dir = None if command.vocabulary_sizes else command.data_dir
    require_memory(schema, command, memory, data_dir)
    print("\nIt fits.")


if __name__ == "__main__":
    run_command(main)
